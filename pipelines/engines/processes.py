"""The engine ``processes``: several cells at a time, each in a process of this machine."""

from __future__ import annotations

from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from types import TracebackType
from typing import Self

from pipelines.engines.alone import leave_with_parent, process_context
from pipelines.engines.task import Task, compute
from pipelines.records.record import RunRecord


class Processes:
    """Processes that compute one cell each. If one is killed, no other cell is lost.

    Each has a pool of its own, because a pool that loses one process ends all others.

    Parameters
    ----------
    workers
        Number of processes.
    """

    lost: tuple[type[BaseException], ...] = (BrokenExecutor,)
    remote = False
    dashboard = ""

    def __init__(self, workers: int) -> None:
        self.slots = workers
        self._pools = [_new_pool() for _ in range(workers)]
        self._last: list[Future[RunRecord | None] | None] = [None] * workers

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for pool in self._pools:
            pool.shutdown(cancel_futures=True)

    def waits_for(self, device: str) -> str:
        """Return no reason: the workers are there."""
        return ""

    def submit(self, task: Task) -> Future[RunRecord | None]:
        """Compute a task in a process that is free."""
        at = next(n for n, last in enumerate(self._last) if last is None or last.done())
        try:
            future = self._pools[at].submit(compute, task)
        except BrokenExecutor:
            self._pools[at].shutdown(cancel_futures=True)
            self._pools[at] = _new_pool()
            future = self._pools[at].submit(compute, task)
        self._last[at] = future
        return future


def _new_pool() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, process_context(), leave_with_parent)
