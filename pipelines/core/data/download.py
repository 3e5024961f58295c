"""Getting large archives: downloads that go on where they stopped, checksums, safe unpacking."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from pipelines.core.data.files import DATA_VARIABLE
from pipelines.core.errors import BenchError

_TIMEOUT_SECONDS = 60
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Archive:
    """A file on a server.

    Parameters
    ----------
    name
        What the file is called here.
    url
        Its address, which begins with ``https://``.
    md5
        Checksum that its publishers give, as hexadecimal digits. It finds damage; it does not
        keep out somebody who builds another file with the same sum.
    """

    name: str
    url: str
    md5: str

    def matches(self, path: Path) -> bool:
        """Whether the file has the checksum."""
        with path.open("rb") as file:
            found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
        return found.hexdigest() == self.md5


def obtain_archive(archive: Archive, folder: Path) -> Path:
    """Find an archive that was put there by hand, or download it into `folder`.

    Looked for are `folder`/NAME, and NAME in the folder that ``DPAP_BENCH_DATA`` names, or in that
    folder's subfolder called as `folder` is. A download lies in `folder`/NAME.part until it is
    complete and verified; one that was cut short goes on where it stopped.

    Returns
    -------
    path
        Of the verified archive.

    Raises
    ------
    BenchError
        If a file in `folder` has another checksum, or the archive cannot be had.
    """
    to = folder / archive.name
    if to.is_file():
        if archive.matches(to):
            return to
        raise BenchError(
            f"{to} has another checksum than {archive.md5} (MD5), so it is damaged or another "
            "file; delete it, then run the same command again."
        )
    own = os.environ.get(DATA_VARIABLE)
    for place in (Path(own), Path(own) / folder.name) if own else ():
        path = place / archive.name
        if path.is_file() and archive.matches(path):
            return path
    try:
        _download(archive, to)
    except (OSError, http.client.HTTPException) as error:
        raise BenchError(
            f"cannot get {archive.name} from {archive.url} ({error or type(error).__name__}); run "
            "the same command again to go on, or, if the link is dead, get the file elsewhere and "
            f"put it at {to}, or into a folder that {DATA_VARIABLE} names."
        ) from error
    return to


def _download(archive: Archive, to: Path) -> None:
    """Download and verify.

    Raises
    ------
    OSError
        If it cannot be had, is cut short, or has another checksum.
    """
    part = to.with_name(f"{to.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    if not (part.is_file() and archive.matches(part)):
        _continue(archive, part)
        if not archive.matches(part):
            part.unlink()
            raise OSError("wrong checksum; what was downloaded is deleted")
    part.replace(to)


def _continue(archive: Archive, part: Path) -> None:
    """Append to `part` what is missing, or begin anew where the server cannot send a range."""
    if not archive.url.startswith("https://"):
        raise OSError("not an https address")
    have = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(archive.url, headers={"User-Agent": "dpap-bench"})  # noqa: S310
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)  # noqa: S310
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.unlink(missing_ok=True)
        raise
    with response:
        if not response.geturl().startswith("https://"):
            raise OSError(f"led to {response.geturl()}, which is not an https address")
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            have = 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        with (
            part.open("r+b" if have else "wb") as file,
            tqdm(desc=archive.name, total=total, initial=have, unit="B", unit_scale=True) as bar,
        ):
            file.seek(have)
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    if total is not None and part.stat().st_size < total:
        raise OSError(f"the connection ended after {part.stat().st_size} of {total} bytes")


def unpack(archives: Sequence[Path], to: Path) -> None:
    """Unpack archives, and the ZIP archives inside them, into one new folder.

    Files are written beside `to`, which appears when all is done. Nothing is written outside, and
    links that lead outside are refused.

    Raises
    ------
    BenchError
        If an archive is damaged or refused, or there is no room.
    """
    beside = to.with_name(f".{to.name}.unpacking")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        beside.mkdir(parents=True)
        for archive in archives:
            _unpack(archive, beside)
        for inner in sorted(beside.rglob("*.zip")):
            _unpack(inner, inner.parent)
            inner.unlink()
        beside.replace(to)
    except (OSError, EOFError, ValueError, tarfile.TarError, zipfile.BadZipFile) as error:
        names = ", ".join(str(archive) for archive in archives)
        raise BenchError(
            f"cannot unpack {names} into {to} ({error}); free some space, or delete what is "
            "damaged, then run the same command again."
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _unpack(archive: Path, to: Path) -> None:
    if archive.name.endswith(".zip"):
        with zipfile.ZipFile(archive) as file:
            file.extractall(to)  # noqa: S202 -- drops '..' and a leading '/' of names itself
    else:
        with tarfile.open(archive) as file:
            file.extractall(to, filter="data")
