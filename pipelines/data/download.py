"""Remote files of data sets: found on this machine or downloaded, and verified."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import os
import shutil
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from tqdm import tqdm

from pipelines.common.errors import BenchError
from pipelines.common.files import atomic_file

#: Environment variable that names a folder of files that the user has already.
DATA_VARIABLE = "DPAP_BENCH_DATA"

_TIMEOUT_SECONDS = 60
_CHUNK = 1 << 20
_SHOWN_FROM = 50 * _CHUNK  # bytes; a smaller download shows no progress bar
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class RemoteFile:
    """A file of a data set, and where to get it.

    Parameters
    ----------
    name
        File name on this machine.
    checksum
        ``sha256:`` or ``md5:``, then hexadecimal digits. MD5, where the publisher gives nothing
        else, detects damage but not a forged file.
    urls
        Addresses that begin with ``https://``, tried in order.
    gzipped
        Whether a source may hold the file compressed by gzip. The checksum is that of the
        uncompressed content, because mirrors compress differently.
    folders
        Folders of the system that may hold the file.
    page
        Web page for the user, where the file can only be downloaded in a browser.
    """

    name: str
    checksum: str
    urls: Sequence[str] = ()
    gzipped: bool = False
    folders: Sequence[Path] = ()
    page: str = ""

    def find(self, folder: Path) -> Path | None:
        """Find a verified copy on this machine, uncompressed.

        Searched are `folder`, the folder that ``DPAP_BENCH_DATA`` names, its subfolder with the
        name of `folder`, and the folders of the system.
        """
        for path in self._local(folder):
            if path.name == self.name and self._fault(path) is None:
                return path
        return None

    def fetch(self, folder: Path) -> Path:
        """Put a verified copy into `folder`, from this machine or from the first good address.

        A partial download stays in `folder` and is continued by the next call.

        Returns
        -------
        path
            `folder`/`name`.

        Raises
        ------
        BenchError
            If no source holds the file, or it cannot be written.
        """
        to = folder / self.name
        faults = []
        for path in self._local(folder):
            fault = self._fault(path)
            if fault is None:
                if path != to:
                    self._install(path, to)
                return to
            faults.append(f"{path}: {fault}")
        for url in self.urls:
            part = folder / f"{self.name}.{hashlib.sha256(url.encode()).hexdigest()[:8]}.part"
            fault = self._download(url, part)
            if fault is None:
                self._install(part, to)
                for rest in folder.glob(f"{self.name}.*.part"):
                    rest.unlink()
                return to
            faults.append(f"{url}: {fault}")
        names = f"{self.name} or {self.name}.gz" if self.gzipped else self.name
        way = (
            f"download it from {self.page} in a browser and put it into {folder}"
            if self.page
            else f"connect to the network, or put {names} into {folder}"
        )
        tried = f" Tried: {'; '.join(faults)}." if faults else ""
        raise BenchError(
            f"cannot get {self.name}: {way}, or into a folder that you name in {DATA_VARIABLE}, "
            f"then run the same command again.{tried}"
        )

    def verify(self, folder: Path, data_set: str) -> Path:
        """Return `folder`/`name`, if its content is right.

        Raises
        ------
        BenchError
            If the file is missing or damaged, with the command that mends it.
        """
        path = folder / self.name
        if not path.is_file():
            raise BenchError(f"{path} is missing; run: dpap-bench fetch {data_set}")
        if self._fault(path):
            raise BenchError(f"{path} is damaged; run: dpap-bench fetch {data_set}")
        return path

    def _local(self, folder: Path) -> Iterator[Path]:
        own = os.environ.get(DATA_VARIABLE)
        places = [folder, *([Path(own), Path(own) / folder.name] if own else []), *self.folders]
        for place in places:
            for name in (self.name, f"{self.name}.gz") if self.gzipped else (self.name,):
                if (place / name).is_file():
                    yield place / name

    def _fault(self, path: Path) -> str | None:
        """What is wrong with a copy; None if nothing is."""
        algorithm, _, wanted = self.checksum.partition(":")
        found = hashlib.new(algorithm, usedforsecurity=False)
        try:
            with self._open(path) as file:
                while chunk := file.read(_CHUNK):
                    found.update(chunk)
        except (OSError, EOFError, zlib.error) as error:
            return f"cannot be read ({error})"
        return None if found.hexdigest() == wanted else f"wrong checksum, not {self.checksum}"

    def _install(self, source: Path, to: Path) -> None:
        """Write the content of a verified copy to its place."""
        if self.gzipped or not source.name.endswith(".part"):
            with atomic_file(to) as file, self._open(source) as content:
                shutil.copyfileobj(content, file)
        else:
            source.replace(to)

    def _open(self, path: Path) -> IO[bytes]:
        """Open the uncompressed content of a copy."""
        if self.gzipped:
            with path.open("rb") as file:
                if file.read(len(_GZIP)) == _GZIP:
                    return cast(IO[bytes], gzip.open(path))
        return path.open("rb")

    def _download(self, url: str, part: Path) -> str | None:
        """Complete a partial download; return what is wrong with it, or None."""
        if part.is_file() and self._fault(part) is None:
            return None
        try:
            download(url, part)
        except (OSError, http.client.HTTPException) as error:
            return str(error) or type(error).__name__
        fault = self._fault(part)
        if fault is not None:
            part.unlink()
            return f"{fault}; the download was deleted"
        return None


def download(url: str, part: Path) -> None:
    """Download a file, continuing where an earlier attempt stopped if the server can do that.

    Parameters
    ----------
    url
        Address. It and what it redirects to begin with ``https://``.
    part
        Destination; may hold the beginning of the file. It stays if the transfer breaks off.

    Raises
    ------
    OSError
        If the address is not https, the server does not have the file, or the transfer breaks off.
    http.client.HTTPException
        If the server breaks the protocol.
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
            part.unlink()  # not a beginning of the file that the server has now
            return download(url, part)
        if error.code in (http.HTTPStatus.NOT_FOUND, http.HTTPStatus.GONE):
            raise OSError(f"the link is dead (HTTP {error.code})") from error
        raise
    with response:
        if not response.geturl().startswith("https://"):
            raise OSError(f"redirects to {response.geturl()}, which is not an https address")
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            have = 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        _write(response, part, have, total)
    if total is not None and part.stat().st_size < total:
        raise OSError(
            f"the transfer broke off after {part.stat().st_size} of {total} bytes; run the same "
            "command again to continue it"
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
