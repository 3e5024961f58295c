"""Choose an engine by its name, which is the name of a module in this folder.

An engine is a module with a function ``run(specs, data_root, store, workers)``. The function runs
cells and yields each record when its run ends. All engines give the same records.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pipelines.records.record import RunRecord
    from pipelines.records.store import Store
    from pipelines.settings.spec import RunSpec

Engine = Literal["serial", "processes"]


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


def run_cells(
    specs: Sequence[RunSpec], data_root: Path, store: Store, engine: Engine, workers: int
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
        ``serial``: one cell after another in this process; ``processes``: several cells at a time.
        One cell, or one worker, always runs in this process.
    workers
        Number of processes.

    Yields
    ------
    RunRecord
        The record of a finished run; it is in the store already.

    Raises
    ------
    BenchError
        If a record cannot be written or a process is killed. Finished cells are kept. Folders that
        cannot be written are found before the first cell trains.
    """
    store.require_writable(specs)
    if workers == 1 or len(specs) < 2:
        engine = "serial"
    module = importlib.import_module(f"pipelines.engines.{engine}")
    yield from module.run(specs, data_root, store, workers)
