"""The identity of a clone, by which a shared tracking store tells its runs from those of others."""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

import msgspec
from filelock import FileLock

from pipelines.common.errors import BenchError
from pipelines.common.files import atomic_file, read_small_file


@dataclass(frozen=True)
class Clone:
    """A clone of the project.

    Parameters
    ----------
    id
        Twelve random hexadecimal digits.
    copied
        The id that this folder had when it was copied from another one, if that was noticed now.
    """

    id: str
    copied: str = ""


class _File(msgspec.Struct):
    """The content of results/local/clone: the id, and where the file was written."""

    id: str
    host: str
    folder: str
    inode: int


def find_clone(root: Path) -> Clone:
    """Return the clone in the project's folder; its id is made at the first call.

    A folder that was copied with its id is a clone of its own, and gets an id of its own. A folder
    that was moved keeps its id.

    Raises
    ------
    BenchError
        If the file with the id cannot be read or written.
    """
    path = root.resolve() / "results" / "local" / "clone"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name("clone.lock")):
        try:
            file = msgspec.json.decode(read_small_file(path), type=_File)
        except FileNotFoundError:
            return Clone(_write(path))
        except (OSError, ValueError, RecursionError) as error:
            raise BenchError(
                f"{path} is not the id of a clone ({error}); delete it: the next command makes a "
                "new one."
            ) from error
        # A move keeps the inode, a restart on another host or a new mount keeps the path.
        moved = file.inode == path.stat().st_ino
        same_place = (file.host, file.folder) == (socket.gethostname(), str(path.parent))
        return Clone(file.id) if moved or same_place else Clone(_write(path), copied=file.id)


def _write(path: Path) -> str:
    name = secrets.token_hex(6)
    with atomic_file(path) as file:
        inode = os.fstat(file.fileno()).st_ino  # that of `path`, too, once the file has its name
        made = _File(name, socket.gethostname(), str(path.parent), inode)
        file.write(msgspec.json.encode(made))
    return name
