"""Getting large archives: found or downloaded, verified, safely unpacked."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.core.data.files import DATA_VARIABLE
from pipelines.core.data.transfer import resume
from pipelines.core.errors import BenchError


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


def find_archive(archive: Archive, folder: Path) -> Path | None:
    """Find an archive that was put there by hand, and verify it.

    Looked for are `folder`/NAME, and NAME in the folder that ``DPAP_BENCH_DATA`` names, or in that
    folder's subfolder called as `folder` is.

    Raises
    ------
    BenchError
        If a file in `folder` has another checksum.
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
    return None


def obtain_archive(archive: Archive, folder: Path) -> Path:
    """Find an archive (see `find_archive`), or download it into `folder`.

    A download lies in `folder`/NAME.part until it is complete and verified; one that was cut short
    goes on where it stopped.

    Returns
    -------
    path
        Of the verified archive.

    Raises
    ------
    BenchError
        If a file in `folder` has another checksum, or the archive cannot be had.
    """
    if found := find_archive(archive, folder):
        return found
    to = folder / archive.name
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
    if not (part.is_file() and archive.matches(part)):
        resume(archive.url, part)
        if not archive.matches(part):
            part.unlink()
            raise OSError("wrong checksum; what was downloaded is deleted")
    part.replace(to)


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
