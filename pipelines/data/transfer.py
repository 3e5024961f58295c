"""Transfers over https that go on where they stopped."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from pathlib import Path

from tqdm import tqdm

_TIMEOUT_SECONDS = 60
_CHUNK = 1 << 20
_SHOWN_FROM = 50 * _CHUNK  # bytes; less is not worth a progress bar


def resume(url: str, part: Path) -> None:
    """Append to `part` what it lacks of a file, or begin anew where the server sends no range.

    Parameters
    ----------
    url
        Address, which begins with ``https://``, and so must the one that it leads to.
    part
        What came of earlier transfers; it need not be there. It stays if this one breaks off.

    Raises
    ------
    OSError
        If the address is not https, the server has no such file or the transfer breaks off.
    http.client.HTTPException
        If it breaks off in another way.
    """
    if not url.startswith("https://"):
        raise OSError("not an https address")
    part.parent.mkdir(parents=True, exist_ok=True)
    have = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "dpap-bench"})  # noqa: S310
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)  # noqa: S310
    except urllib.error.HTTPError as error:
        if have and error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.unlink()  # no beginning of the file that is there now
            return resume(url, part)
        if error.code in (http.HTTPStatus.NOT_FOUND, http.HTTPStatus.GONE):
            raise OSError(f"the link is dead (HTTP {error.code})") from error
        raise
    with response:
        if not response.geturl().startswith("https://"):
            raise OSError(f"led to {response.geturl()}, which is not an https address")
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            have = 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        _write(response, part, have, total)
    if total is not None and part.stat().st_size < total:
        raise OSError(
            f"the transfer broke off after {part.stat().st_size} of {total} bytes; the same "
            "command goes on from there"
        )
    return None


def _write(response: http.client.HTTPResponse, part: Path, have: int, total: int | None) -> None:
    quiet = total is not None and total < _SHOWN_FROM
    with (
        part.open("r+b" if have else "wb") as file,
        tqdm(
            desc=part.name, total=total, initial=have, unit="B", unit_scale=True, disable=quiet
        ) as bar,
    ):
        file.seek(have)
        while chunk := response.read(_CHUNK):
            file.write(chunk)
            bar.update(len(chunk))
