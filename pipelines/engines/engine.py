"""Choose an engine by its name, and run cells on it.

An engine computes tasks, here or elsewhere; it writes no records. `pipelines.engines.driver` does
everything else, so all engines give the same records.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, Self

if TYPE_CHECKING:
    from concurrent.futures import Future
    from types import TracebackType

    from pipelines.engines.task import Task
    from pipelines.records.record import RunRecord
    from pipelines.records.store import Store
    from pipelines.settings.spec import RunSpec

EngineName = Literal["serial", "processes", "dask"]


class Engine(Protocol):
    """Computes tasks; a context manager, at whose end all workers are released.

    Attributes
    ----------
    lost
        Exceptions of a future whose worker was lost.
    remote
        Whether workers may be on other machines.
    """

    lost: tuple[type[BaseException], ...]
    remote: bool

    @property
    def slots(self) -> int:
        """How many tasks are computed at a time; it may change."""

    @property
    def dashboard(self) -> str:
        """Address of a page that shows the tasks; empty: there is none."""

    def waits_for(self, device: str) -> str:
        """Say why no cell of a device can start yet, in one sentence; empty: cells can start."""

    def submit(self, task: Task) -> Future[RunRecord | None]:
        """Compute a task; the future has what `pipelines.engines.task.compute` returns."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


@dataclass(frozen=True)
class Terms:
    """How a sweep treats cells that take long, fail or are claimed by another sweep.

    Parameters
    ----------
    limit
        Time limit of a cell, in s; None: there is none.
    retries
        How often a cell is tried again after its worker was lost.
    pause
        Time before the first of these, in s; it doubles with each.
    waits
        Whether to wait for cells that another sweep computes, instead of leaving them out.
    look
        Time between two looks at these cells, in s.
    anew
        Whether to compute cells, too, that have a valid record.
    """

    limit: float | None = None
    retries: int = 5
    pause: float = 1.0
    waits: bool = True
    look: float = 5.0
    anew: bool = False


def available_cores() -> int:
    """Return the number of CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_workers(threads: int, device: str) -> int:
    """Return the default number of processes.

    Parameters
    ----------
    threads
        CPU threads of each run.
    device
        ``cpu`` or ``cuda``.

    Returns
    -------
    int
        One process per `threads` cores, at least one; always one for a GPU.
    """
    return 1 if device == "cuda" else max(1, available_cores() // threads)


def make_engine(name: EngineName, workers: int, scheduler: str = "") -> Engine:
    """Start an engine.

    Parameters
    ----------
    name
        ``serial``: one cell after another in this process; ``processes``: several cells at a time;
        ``dask``: the workers of Dask, also on other machines.
    workers
        Number of processes.
    scheduler
        For ``dask``: address of a scheduler, or ``slurm``; empty: workers on this machine.

    Raises
    ------
    BenchError
        If Dask is not installed, or the scheduler does not answer.
    """
    if name == "dask":
        from pipelines.engines.dask import Dask

        return Dask(workers, scheduler)
    if name == "processes":
        from pipelines.engines.processes import Processes

        return Processes(workers)
    from pipelines.engines.serial import Serial

    return Serial()


def run_cells(
    specs: Sequence[RunSpec],
    data_root: Path,
    store: Store,
    engine: EngineName | Engine,
    workers: int,
    follow: Callable[[RunRecord], Iterable[RunSpec]] | None = None,
    terms: Terms | None = None,
) -> Iterator[RunRecord]:
    """Run cells and yield each record when its run ends. Their data must have been fetched.

    Parameters
    ----------
    specs
        The cells.
    data_root
        Folder of fetched data sets.
    store
        The store that each record is written to.
    engine
        An engine, or its name. One worker is always ``serial`` instead of ``processes``, and so is
        one cell that no other can follow.
    workers
        Number of processes.
    follow
        Record -> cells that can run now that it exists, such as controls.
    terms
        Time limit, retries, and what to do about the cells of other sweeps.

    Yields
    ------
    RunRecord
        The record of a finished run; it is in the store already.

    Raises
    ------
    BenchError
        If a record cannot be written, or a cell could not be computed. Finished cells are kept.
        Folders that cannot be written are found before the first cell trains.
    """
    if not specs:
        return
    store.require_writable(specs)
    from pipelines.engines.driver import Driver

    few = workers == 1 or (len(specs) < 2 and follow is None)
    if isinstance(engine, str):
        small = few and engine == "processes"
        engine = make_engine("serial" if small else engine, workers)
    yield from Driver(specs, data_root, store, engine, follow, terms or Terms()).run()
