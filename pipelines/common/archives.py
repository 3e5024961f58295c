"""Archives of files: written reproducibly, read without trusting them."""

from __future__ import annotations

import gzip
import os
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, cast

from pipelines.common.errors import BenchError
from pipelines.common.files import atomic_file

#: What the libraries raise for a file that is no archive, is damaged, or uses an unknown feature.
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
    TypeError,
    AttributeError,
    ArithmeticError,
    MemoryError,
)
_GZIP = b"\x1f\x8b"
_CHUNK = 1 << 20
#: macOS adds a file of its own attributes for each file, in this folder.
_MAC_ATTRIBUTES = "__MACOSX/"
#: Limits of what is read of any archive: files and folders; folders inside one another; and bytes
#: of headers in front of one file, which the libraries hold in memory.
_MOST_MEMBERS, _MOST_LEVELS, _MOST_HEADER = 2_000_000, 32, 1 << 24
#: Bytes of the name of a file or folder, on most file systems.
_MOST_NAME = 255


def pack(folder: Path, path: Path) -> None:
    """Write the files of a folder as ``.tar.gz``, ordered by name and without times.

    The same files give the same bytes.

    Raises
    ------
    BenchError
        If the archive cannot be written.
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


def members(path: Path, most: int = _MOST_MEMBERS) -> Iterator[tuple[str, int, Iterator[bytes]]]:
    """Read the files of a ``.tar.gz`` or ``.zip`` in the order in which they are stored.

    Folders and the attribute files of macOS are left out.

    Parameters
    ----------
    path
        Archive.
    most
        Limit of files and folders.

    Yields
    ------
    tuple
        Name, size in bytes, and content in chunks. The content must be read before the next file
        is asked for.

    Raises
    ------
    BenchError
        If the archive is missing or damaged, holds a path that leaves the folder it is unpacked
        to, a link or a device, or exceeds a limit of headers, files or nested folders.
    """
    with _reading(path):
        with path.open("rb") as file:
            of_tar = file.read(len(_GZIP)) == _GZIP
        for name, size, plain, content in (
            _tar_members(path, most) if of_tar else _zip_members(path, most)
        ):
            if not plain:
                raise BenchError(f"{path} contains {name!r}, which is not a file; do not trust it.")
            parts = PurePosixPath(name).parts
            unsafe = not parts or parts[0] == "/" or ".." in parts or set(name) & set("\\:\0")
            if unsafe or any(len(os.fsencode(part)) > _MOST_NAME for part in parts):
                raise BenchError(f"{path} contains the unsafe path {name!r}; do not trust it.")
            if len(parts) > _MOST_LEVELS:
                raise BenchError(
                    f"{path} contains a path of {len(parts)} folders; do not trust it."
                )
            if not name.startswith(_MAC_ATTRIBUTES):
                yield name, size, _chunks(content, path)


def unpack(
    path: Path, folder: Path, *, most_files: int = 100_000, most_bytes: int = 2 << 30
) -> None:
    """Write the files of a ``.tar.gz`` or ``.zip`` into a folder.

    Nothing is written outside the folder. If an error is raised, the folder holds a part of the
    files.

    Parameters
    ----------
    path
        Archive.
    folder
        Destination. No file of the archive may be there already.
    most_files, most_bytes
        Limits of the unpacked content. A file that exceeds one is not written. With its folders,
        the archive may hold twice as many.

    Raises
    ------
    BenchError
        If the archive is refused (see `members`), holds a file twice or exceeds a limit, or the
        disk is full.
    """
    files, left = 0, most_bytes
    for name, size, content in members(path, 2 * most_files):
        files, left = files + 1, left - size
        if files > most_files or left < 0:
            raise BenchError(
                f"{path} holds more than {most_files:,} files or {most_bytes:,} bytes; do not "
                "trust it."
            )
        to = folder / PurePosixPath(name)
        try:
            to.parent.mkdir(parents=True, exist_ok=True)
            with to.open("xb") as file:
                file.writelines(content)
        except (FileExistsError, NotADirectoryError):
            raise BenchError(f"{path} contains {name!r} twice; do not trust it.") from None
        except OSError as error:
            raise BenchError(
                f"cannot write {to} ({error.strerror or error}); free some space, then run the "
                "same command again."
            ) from error


def unpack_together(paths: Sequence[Path], folder: Path, *, most_bytes: int) -> None:
    """Unpack archives, and the ZIP archives inside them, into one new folder.

    The folder appears once everything is unpacked.

    Parameters
    ----------
    paths
        Archives.
    folder
        Destination, which must not exist.
    most_bytes
        Limit of the unpacked content of each archive.

    Raises
    ------
    BenchError
        If an archive is refused (see `unpack`), or the folder cannot be written.
    """
    beside = folder.with_name(f".{folder.name}.unpacking")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        beside.mkdir(parents=True)
        for path in paths:
            unpack(path, beside, most_bytes=most_bytes)
        for inner in sorted(beside.rglob("*.zip")):
            unpack(inner, inner.parent, most_bytes=most_bytes)
            inner.unlink()
        beside.replace(folder)
    except OSError as error:
        raise BenchError(f"cannot write {folder} ({error.strerror or error}).") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a ``.zip`` to read single files by name.

    Raises
    ------
    BenchError
        If it is missing or damaged; also for damage that is found later, inside the block.
    """
    with _reading(path), zipfile.ZipFile(path) as archive:
        yield archive


def zip_names(archive: zipfile.ZipFile) -> list[str]:
    """Names of the files of an open ``.zip``, without folders and attribute files of macOS."""
    names = archive.namelist()
    return [n for n in names if not n.endswith("/") and not n.startswith(_MAC_ATTRIBUTES)]


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what the libraries raise for a damaged archive into one sentence."""
    try:
        yield
    except _DAMAGE as error:
        reason = getattr(error, "strerror", None) or error or type(error).__name__
        raise BenchError(
            f"cannot read {path} as a .tar.gz or .zip archive ({reason}); get it again."
        ) from error


def _tar_members(path: Path, most: int) -> Iterator[tuple[str, int, bool, IO[bytes]]]:
    """Name, size, whether it is a plain file, and content of each member but folders."""
    with gzip.open(path) as content:
        limited = _Limited(cast(IO[bytes], content), path)
        with tarfile.open(fileobj=limited, mode="r|") as archive:  # type: ignore[call-overload]
            for number, member in enumerate(archive):
                limited.left = _MOST_HEADER + max(0, member.size)
                archive.members = []  # the library keeps all headers
                if number >= most:
                    raise _too_many(path, most)
                if not member.isdir():
                    plain = member.isreg() and archive.extractfile(member)
                    yield member.name, member.size, bool(plain), plain or BytesIO()


def _too_many(path: Path, most: int) -> BenchError:
    return BenchError(f"{path} holds more than {most:,} files and folders; do not trust it.")


class _Limited:
    """The uncompressed content of an archive, with a limit up to the end of the next member."""

    def __init__(self, content: IO[bytes], path: Path) -> None:
        self.content, self.path, self.left = content, path, _MOST_HEADER

    def read(self, size: int) -> bytes:
        """Read some bytes.

        Raises
        ------
        BenchError
            If more is read than the next member has.
        """
        self.left -= size
        if self.left < 0:
            raise BenchError(
                f"{self.path} has a header of more than {_MOST_HEADER:,} bytes; do not trust it."
            )
        return self.content.read(size)


def _zip_members(path: Path, most: int) -> Iterator[tuple[str, int, bool, IO[bytes]]]:
    """See `_tar_members`."""
    with zipfile.ZipFile(path) as archive:
        if len(archive.infolist()) > most:
            raise _too_many(path, most)
        for member in archive.infolist():
            if member.filename.endswith("/"):
                continue
            kind = member.external_attr >> 28  # file type of Unix: 8 is a file, 0 is unknown
            encrypted = member.flag_bits & 1
            if kind not in (0, 8) or encrypted:
                yield member.filename, 0, False, BytesIO()
                continue
            with archive.open(member) as content:
                yield member.filename, member.file_size, True, content


def _chunks(content: IO[bytes], path: Path) -> Iterator[bytes]:
    with _reading(path):
        while chunk := content.read(_CHUNK):
            yield chunk
