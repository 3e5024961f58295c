"""Claims: which cells are being computed, so that two sweeps of one board share the work.

A claim is a file with the name of its owner. The owner changes the time of the file every few
seconds, its heartbeat. A claim without a heartbeat is void, and so is one whose process is gone
from this machine. Records never depend on claims: if two sweeps compute a cell all the same, both
write the same record.
"""

from __future__ import annotations

import os
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import FileLock

from pipelines.common.errors import BenchError

#: Time between two heartbeats, in s.
BEAT = 15.0
#: A claim without a heartbeat for this time is void, in s.
VOID_AFTER = 120.0


class Claims:
    """The claims of one sweep; a context manager, at whose end all of them are released.

    Parameters
    ----------
    folder
        Folder of the claims of a store; it need not exist.

    Attributes
    ----------
    owner
        Machine, process and a random name.
    held
        Names of the cells that are claimed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.owner = f"{_machine()} {os.getpid()} {uuid.uuid4().hex}"
        self.held: set[str] = set()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat_on, daemon=True)

    def __enter__(self) -> Self:
        with self._writing():
            self.folder.mkdir(parents=True, exist_ok=True)
            self._clock.touch()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        for name in [*self.held]:
            self.release(name)
        with suppress(OSError):
            self._clock.unlink()

    def take(self, name: str) -> bool:
        """Claim a cell, unless another sweep has claimed it.

        Parameters
        ----------
        name
            Name of the cell, such as its run id.

        Raises
        ------
        BenchError
            If the claim cannot be written.
        """
        path = self.folder / name
        with self._writing(), FileLock(self.folder / ".lock"):
            if self._is_valid(path):
                return False
            path.write_text(self.owner)
        with self._lock:
            self.held.add(name)
        return True

    def release(self, name: str) -> None:
        """End a claim; nothing happens if another sweep has taken it over.

        A claim that cannot be deleted has no heartbeat from now on, so it becomes void.
        """
        with self._lock:
            self.held.discard(name)
        path = self.folder / name
        with suppress(OSError), FileLock(self.folder / ".lock"):
            if _owner(path) == self.owner:
                path.unlink()

    def beat(self) -> None:
        """Renew all claims that no other sweep has taken over."""
        with self._lock:
            names = [*self.held]
        for name in names:
            path = self.folder / name
            if _owner(path) == self.owner:
                os.utime(path)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise BenchError(
                f"cannot write {self.folder} ({error.strerror or error}); free some space or "
                "choose a folder that you may write to, then run the same command again."
            ) from error

    def _beat_on(self) -> None:
        while not self._ended.wait(BEAT):
            try:
                self.beat()
            except OSError:
                continue  # the next heartbeat may succeed

    def _is_valid(self, path: Path) -> bool:
        """Whether another sweep claims a cell, and lives."""
        owner = _owner(path)
        if owner is None:
            return False
        try:
            os.utime(self._clock)
            age = self._clock.stat().st_mtime - path.stat().st_mtime
        except OSError:
            return False
        machine, process, _ = owner.split(" ")
        gone = machine == _machine() and not _runs(int(process))
        return age < VOID_AFTER and not gone

    @property
    def _clock(self) -> Path:
        """A file of this sweep: ages are measured by the clock of the machine that keeps files."""
        return self.folder / f".{self.owner.rpartition(' ')[2]}"


def _machine() -> str:
    """Name of this machine and of its table of processes, which containers of one name may have."""
    with suppress(OSError):
        return f"{socket.gethostname()}-{os.readlink('/proc/self/ns/pid')}"
    return socket.gethostname()


def _owner(path: Path) -> str | None:
    """Return the owner of a claim; None if there is no claim, or half of a file."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError):
        return None
    return text if len(text.split(" ")) == 3 and text.split(" ")[1].isdecimal() else None


def _runs(process: int) -> bool:
    """Whether a process of this machine runs."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
