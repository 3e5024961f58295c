"""Load: 10,000 planned cells, and eight processes that write records into one store."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines.boards.params import Params
from pipelines.boards.project import PARAMS
from pipelines.common.yaml import read_yaml
from pipelines.records.record import RunRecord
from pipelines.records.store import Store
from pipelines.training.cell import run_cell
from tests.helpers.projects import copy_settings, write_params
from tests.perf.test_records import BOARD
from tests.perf.writers import write_many

WRITERS, RECORDS = 8, 2000

#: Builds all cells of the board, their run ids, and finds out which have a record.
RESOLVE = """
import time
start = time.perf_counter()
from pathlib import Path
from pipelines.boards.params import load_params
from pipelines.records.store import board_store
root = Path.cwd()
cells = load_params(root).cells("large")
missing = board_store(root, "large").missing(cells)
print(len({cell.run_id for cell in missing}), time.perf_counter() - start)
print(*[x.split()[1] for x in open("/proc/self/status") if x.startswith("VmHWM")] or "0")
"""


def test_planned_cells(benchmark: Any, tmp_path: Path) -> None:
    """In a process of its own, with the imports: 10,000 cells of which none has a record."""
    benchmark.group = "load"
    copy_settings(tmp_path)
    write_params(
        tmp_path, read_yaml((tmp_path / PARAMS).read_text()) | {"boards": {"large": BOARD}}
    )
    output: list[str] = []

    def resolve() -> None:
        done = subprocess.run(
            [sys.executable, "-c", RESOLVE],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        output.extend(done.stdout.split())

    benchmark.pedantic(resolve, rounds=3)
    count, seconds, kibibytes = output[-3:]
    assert int(count) == 10_000
    benchmark.extra_info |= {
        "seconds with imports": round(float(seconds), 2),
        "peak megabytes": round(int(kibibytes) / 1024),
    }


@pytest.fixture(scope="module")
def model(params: Params, data_root: Path) -> RunRecord:
    """A real record, which is written again and again under other seeds."""
    return run_cell(params.spec("digits-snn", "magnitude", "structured", 0.5, 0), data_root)


def test_eight_writers(benchmark: Any, model: RunRecord, tmp_path: Path) -> None:
    """Every record is there and can be read, and no half of a file is left."""
    benchmark.group = "load"
    context = multiprocessing.get_context("forkserver")

    def write() -> None:
        writers = [
            context.Process(
                target=write_many,
                args=(tmp_path / "records", model, range(first, first + RECORDS)),
            )
            for first in range(0, WRITERS * RECORDS, RECORDS)
        ]
        for one in writers:
            one.start()
        for one in writers:
            one.join()
        assert not any(one.exitcode for one in writers)

    benchmark.pedantic(write, rounds=1)
    store = Store(tmp_path / "records")
    assert {record.spec.seed for _, record in store.records()} == set(range(WRITERS * RECORDS))
    files = [path for path in store.root.rglob("*") if path.is_file()]
    assert len(files) == 2 * WRITERS * RECORDS, "a temporary file is left"
