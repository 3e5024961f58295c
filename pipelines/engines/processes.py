"""The engine ``processes``: several cells at a time, each in a process of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from pathlib import Path

from pipelines.common.errors import BenchError
from pipelines.engines.task import checkpoint_cells, make_and_store_start, run_and_store
from pipelines.records.record import RunRecord
from pipelines.records.store import Store
from pipelines.settings.spec import RunSpec

#: Time that a worker has to store the state of its run when the main process has ended, in s.
GRACE = 30.0


def run(
    specs: Sequence[RunSpec], data_root: Path, store: Store, workers: int
) -> Iterator[RunRecord]:
    """Run cells and yield their records, as `pipelines.engines.engine.run_cells` describes.

    Dense checkpoints that cells start from are trained first, each by one process only.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pipelines.engines.task"])
    with ProcessPoolExecutor(min(workers, len(specs)), context, _leave_with_parent) as pool:
        try:
            starts = [
                pool.submit(make_and_store_start, spec, data_root, store.root)
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
