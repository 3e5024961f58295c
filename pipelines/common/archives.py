"""Archives of files: written so that the same files give the same bytes, read without trust."""

from __future__ import annotations

import gzip
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path, PurePosixPath

from pipelines.common.errors import BenchError, InputError
from pipelines.common.files import atomic_file

#: What an archive may hold; more is refused before it fills the disk.
MOST_FILES, MOST_BYTES = 100_000, 2 << 30
#: What the libraries raise where a file is no archive, is damaged, or holds what they do not know.
_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    RuntimeError,
    LookupError,
)


def pack(folder: Path, path: Path) -> None:
    """Write the files of a folder as ``.tar.gz``, in the order of their names, without times.

    Raises
    ------
    BenchError
        If the disk does not take it.
    """
    with (
        atomic_file(path) as out,
        gzip.GzipFile("", "wb", fileobj=out, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for file in sorted(file for file in folder.rglob("*") if file.is_file()):
            member = tarfile.TarInfo(file.relative_to(folder).as_posix())
            content = file.read_bytes()
            member.size = len(content)
            archive.addfile(member, BytesIO(content))


def unpack(path: Path, folder: Path) -> None:
    """Write the files of a ``.tar.gz`` or ``.zip`` into an empty folder.

    Raises
    ------
    InputError
        If it is no such archive, or is damaged.
    BenchError
        If it holds what no honest archive does: a path that leaves the folder, a link, a file
        twice, or far too much.
    """
    left = MOST_BYTES
    seen: set[str] = set()
    for name, size, content in _members(path):
        parts = PurePosixPath(name).parts
        if (
            not parts
            or PurePosixPath(name).is_absolute()
            or ".." in parts
            or set(name) & set("\\:\0")
        ):
            raise BenchError(f"{path} holds the path {name!r}, which is not safe; do not trust it.")
        left -= size
        if name in seen or len(seen) == MOST_FILES or left < 0:
            raise BenchError(f"{path} holds {name!r} twice, or far too much; do not trust it.")
        seen.add(name)
        to = folder / Path(*parts)
        if to.exists() or any(parent.is_file() for parent in to.parents):
            raise BenchError(f"{path} holds {name!r} as a file and a folder; do not trust it.")
        with atomic_file(to) as file:
            file.write(content)


def _members(path: Path) -> Iterator[tuple[str, int, bytes]]:
    """Name, size and content of each file; folders are left out, anything else is refused."""
    try:
        if zipfile.is_zipfile(path):
            yield from _zip_members(path)
        else:
            yield from _tar_members(path)
    except _DAMAGE as error:
        raise InputError(
            f"{path} cannot be read as .tar.gz or .zip ({error}); fetch it again."
        ) from error


def _tar_members(path: Path) -> Iterator[tuple[str, int, bytes]]:
    with tarfile.open(path, "r:gz") as archive:
        for member in archive:
            if member.isdir():
                continue
            if not member.isreg():
                raise _refused(path, member.name)
            content = archive.extractfile(member) if member.size <= MOST_BYTES else None
            yield member.name, member.size, content.read() if content else b""


def _zip_members(path: Path) -> Iterator[tuple[str, int, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            kind = member.external_attr >> 28  # of Unix: 8 is a file, 0 is not said
            if member.filename.endswith("/"):
                continue
            if kind not in (0, 8) or member.flag_bits & 1:
                raise _refused(path, member.filename)
            content = archive.read(member) if member.file_size <= MOST_BYTES else b""
            yield member.filename, member.file_size, content


def _refused(path: Path, name: str) -> BenchError:
    return BenchError(f"{path} holds {name!r}, which is no plain file; do not trust it.")
