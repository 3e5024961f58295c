"""The engine ``processes``: several cells at a time, each in a process of this machine."""

from __future__ import annotations

from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from types import TracebackType
from typing import Self

from pipelines.engines.alone import leave_with_parent, process_context
from pipelines.engines.task import Task, compute
from pipelines.records.record import RunRecord


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
        return ProcessPoolExecutor(self.slots, process_context(), leave_with_parent)
