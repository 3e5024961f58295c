"""The engine ``processes``: several cells at a time, each in a process of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from multiprocessing.connection import wait
from types import TracebackType
from typing import Self

from pipelines.engines.task import Task, compute
from pipelines.records.record import RunRecord

#: Time that a worker has to store the state of its run when the main process has ended, in s.
GRACE = 30.0


class Processes:
    """A pool of processes. If one is killed, all are replaced; their cells are lost.

    Parameters
    ----------
    workers
        Number of processes.
    """

    lost: tuple[type[BaseException], ...] = (BrokenExecutor,)
    remote = False

    def __init__(self, workers: int) -> None:
        self.slots = workers
        self._pool = self._new_pool()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def submit(self, task: Task) -> Future[RunRecord | None]:
        """Compute a task in a process that is free."""
        try:
            return self._pool.submit(compute, task)
        except BrokenExecutor:
            self._pool.shutdown(cancel_futures=True)
            self._pool = self._new_pool()
            return self._pool.submit(compute, task)

    def _new_pool(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["pipelines.engines.task"])
        return ProcessPoolExecutor(self.slots, context, _leave_with_parent)


def _leave_with_parent() -> None:
    """End this worker when the main process ends, even if it was killed.

    A cell that is running stores its state first.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
