"""Two processes of one thread against one process of two threads, on the same cells."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pipelines.boards.params import Params
from pipelines.engines.engine import Terms, available_cores, run_cells
from pipelines.records.store import Store
from tests.perf.networks import Race


@pytest.mark.skipif(available_cores() < 2, reason="needs two cores")
def test_processes(
    race: Race, benchmark: Any, params: Params, data_root: Path, tmp_path: Path
) -> None:
    benchmark.group = "eight cells of digits-snn, start of the workers included"

    def cells(threads: int, workers: int) -> Callable[[], None]:
        specs = [
            replace(
                params.spec("digits-snn", "magnitude", "structured", 0.25, seed), threads=threads
            )
            for seed in range(8)
        ]
        engine = "serial" if workers == 1 else "processes"
        return lambda: print(
            len(
                list(
                    run_cells(
                        specs, data_root, Store(tmp_path), engine, workers, terms=Terms(anew=True)
                    )
                )
            )
        )

    contenders = {"one process, two threads": cells(2, 1), "two processes, one thread": cells(1, 2)}
    race(contenders, reference="one process, two threads", rounds=2, warmup=0)
