"""The engine ``serial``: one cell after another, in this process."""

from __future__ import annotations

from concurrent.futures import Future
from types import TracebackType
from typing import Self

from pipelines.engines.task import Task, compute
from pipelines.records.record import RunRecord


class Serial:
    """Computes a task when it is submitted."""

    slots = 1
    lost: tuple[type[BaseException], ...] = ()
    remote = False
    dashboard = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def waits_for(self, device: str) -> str:
        """Return no reason: the workers are there."""
        return ""

    def submit(self, task: Task) -> Future[RunRecord | None]:
        """Compute a task; the future is done."""
        future: Future[RunRecord | None] = Future()
        try:
            future.set_result(compute(task))
        except Exception as error:  # as a process would return it
            future.set_exception(error)
        return future
