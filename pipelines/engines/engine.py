"""The choice of an engine: a name, and the module of that name in this folder.

An engine is a module with ``run(specs, data_root, store, workers)``, which runs cells and yields
their records as they end. All engines give the same records.
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
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_workers(threads: int, device: str) -> int:
    """One process for every `threads` cores, but a single one for a GPU."""
    return 1 if device == "cuda" else max(1, available_cores() // threads)


def run_cells(
    specs: Sequence[RunSpec], data_root: Path, store: Store, engine: Engine, workers: int
) -> Iterator[RunRecord]:
    """Run cells and yield their records as they end; the data must have been fetched.

    Parameters
    ----------
    specs
        Cells.
    data_root
        Folder of fetched data sets.
    store
        Where records go.
    engine
        ``serial``: one after another in this process; ``processes``: several at a time.
    workers
        Processes at a time.

    Raises
    ------
    BenchError
        If a record cannot be written or a process is killed; finished cells are kept.
    """
    if workers == 1 or len(specs) < 2:
        engine = "serial"
    module = importlib.import_module(f"pipelines.engines.{engine}")
    yield from module.run(specs, data_root, store, workers)
