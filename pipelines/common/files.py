"""Atomic writing of files, careful reading of small ones, and checksums."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pipelines.common.errors import BenchError

#: Size in bytes above which a file is none of ours: records, settings and manifests are smaller.
MOST_BYTES = 1 << 28


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file that replaces `path` when the block ends, and is removed if it fails.

    Raises
    ------
    BenchError
        If the file cannot be written (disk full, no permission).
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise BenchError(
            f"cannot write {path} ({error.strerror or error}); free some space or choose a folder "
            "that you may write to, then run the same command again."
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def read_small_file(path: Path) -> bytes:
    """Read a whole file with few system calls: a store has thousands of files.

    Raises
    ------
    OSError
        If the file cannot be read, is no regular file (a pipe would block for ever), or is larger
        than `MOST_BYTES`.
    """
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise OSError("it is a folder, a pipe or a device")
        if status.st_size > MOST_BYTES:
            raise OSError(f"it is larger than {MOST_BYTES:,} bytes")
        content = os.read(file, status.st_size)
        while len(content) < status.st_size:  # os.read may return less than asked for
            more = os.read(file, status.st_size - len(content))
            if not more:
                break
            content += more
        return content
    finally:
        os.close(file)


def read_text(path: Path) -> str:
    """Read a text of the user.

    Raises
    ------
    BenchError
        If the file cannot be read, or is no text in UTF-8.
    """
    try:
        return read_small_file(path).decode()
    except OSError as error:
        raise BenchError(f"{path} cannot be read ({error.strerror or error}).") from error
    except UnicodeDecodeError as error:
        raise BenchError(
            f"{path} is no text in UTF-8 (byte {error.start + 1}); save it in UTF-8."
        ) from error


def sha256(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
