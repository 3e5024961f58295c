"""The engine ``processes``: several cells at a time, each in a process of this machine."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from pipelines.common.errors import BenchError
from pipelines.engines.task import checkpoint_cells, leave_with_parent, run_and_store
from pipelines.records.record import RunRecord
from pipelines.records.store import Store
from pipelines.settings.spec import RunSpec
from pipelines.training.cell import make_start


def run(
    specs: Sequence[RunSpec], data_root: Path, store: Store, workers: int
) -> Iterator[RunRecord]:
    """Run cells and yield their records, as `pipelines.engines.engine.run_cells` describes.

    Dense checkpoints that cells start from are trained first, each by one process only.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pipelines.engines.task"])
    with ProcessPoolExecutor(min(workers, len(specs)), context, leave_with_parent) as pool:
        try:
            starts = [
                pool.submit(make_start, spec, data_root, store.checkpoints)
                for spec in checkpoint_cells(specs)
            ]
            for start in starts:
                start.result()
            futures = [pool.submit(run_and_store, spec, data_root, store.root) for spec in specs]
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise BenchError(
                "a worker process was killed (out of memory?); finished cells are kept. Run the "
                "same command again with fewer --workers."
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)
