"""Runs cells, one after another or in several processes; both give the same records."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from pathlib import Path
from typing import Literal

from pipelines.common.errors import BenchError
from pipelines.records.checkpoint import dense_cell
from pipelines.records.record import RunRecord
from pipelines.records.store import Store
from pipelines.settings.spec import RunSpec
from pipelines.training.cell import make_start, run_cell

Engine = Literal["serial", "processes"]


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_workers(threads: int, device: str) -> int:
    """One process for every `threads` cores, but a single one for a GPU."""
    return 1 if device == "cuda" else max(1, available_cores() // threads)


def _run_and_store(spec: RunSpec, data_root: Path, store_root: Path) -> RunRecord:
    """Run one cell and write its record at once, so that a kill loses only cells in flight."""
    store = Store(store_root)
    record = run_cell(spec, data_root, store.checkpoints, store.parent(spec))
    store.write(record)
    return record


def _starts(specs: Sequence[RunSpec]) -> list[RunSpec]:
    """One post-training cell for each dense checkpoint that such cells need."""
    later = [spec for spec in specs if spec.track == "post-training"]
    return list({dense_cell(spec).run_id: spec for spec in later}.values())


def _leave_with_parent() -> None:
    """End this worker when the main process is gone, however it went."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def run_cells(
    specs: Sequence[RunSpec], data_root: Path, store: Store, engine: Engine, workers: int
) -> Iterator[RunRecord]:
    """Run cells and yield their records as they end; the data must have been fetched.

    Dense checkpoints that cells start from are made first, each by one process.

    Parameters
    ----------
    specs
        Cells.
    data_root
        Folder of fetched data sets.
    store
        Where records go.
    engine
        ``serial`` or ``processes``.
    workers
        Processes at a time.

    Raises
    ------
    BenchError
        If a record cannot be written or a process is killed; finished cells are kept.
    """
    if engine == "serial" or workers == 1 or len(specs) < 2:
        for spec in specs:
            yield _run_and_store(spec, data_root, store.root)
        return
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pipelines.engines.engine"])
    with ProcessPoolExecutor(min(workers, len(specs)), context, _leave_with_parent) as pool:
        try:
            starts = [
                pool.submit(make_start, spec, data_root, store.checkpoints)
                for spec in _starts(specs)
            ]
            for start in starts:
                start.result()
            futures = [pool.submit(_run_and_store, spec, data_root, store.root) for spec in specs]
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise BenchError(
                "a worker process was killed (out of memory?); finished cells are kept: run the "
                "same command again, with fewer --workers."
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)
