"""10,000 records: reading them all, finding what is missing, building the report."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pipelines.boards.params import Params, load_params
from pipelines.boards.project import PARAMS
from pipelines.common.yaml import read_yaml
from pipelines.records.digest import code_digest
from pipelines.records.store import Store
from pipelines.training.cell import run_cell
from tests.helpers.projects import copy_settings, write_params

BOARD = {
    "workloads": ["digits-snn", "digits-ann"],
    "baselines": ["random", "magnitude"],
    "dpap": ["dpap"],
    "densities": [round(0.04 * i, 2) for i in range(1, 26)],
    "seeds": list(range(25)),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, params: Params, data_root: Path) -> Path:
    """A folder with a board of 10,000 cells: two real records, copied with other accuracies."""
    root = tmp_path_factory.mktemp("large")
    copy_settings(root)
    fields = read_yaml((root / PARAMS).read_text()) | {"boards": {"large": BOARD}}
    write_params(root, fields)
    params = load_params(root)
    store, draw = Store(root / "results" / "boards" / "large" / "records"), random.Random(0)
    models = {
        name: run_cell(params.spec(name, "magnitude", "structured", 0.5, 0), data_root)
        for name in BOARD["workloads"]
    }
    for cell in params.cells("large"):
        model = models[cell.workload]
        assert model.outcome is not None
        cost = replace(model.outcome.cost, density=cell.density)
        accuracy = 0.98 - 0.1 * (1 - float(cell.density)) ** 3 + draw.gauss(0, 0.005)
        changes = {
            "spec": cell,
            "run_id": cell.run_id,
            "outcome": replace(model.outcome, test_accuracy=accuracy, cost=cost),
            "code_digest": code_digest(cell),
            "code_digest_end": code_digest(cell),
        }
        store.write(replace(model, **changes))
    os.sync()  # writing has ended before reading is timed
    return root


def test_store_scan(benchmark: Any, project: Path) -> None:
    benchmark.group = "10,000 records"
    store = Store(project / "results" / "boards" / "large" / "records")
    count = benchmark.pedantic(lambda: sum(1 for _ in store.records()), rounds=7)
    assert count == 10_000


def test_nothing_is_missing(benchmark: Any, project: Path) -> None:
    benchmark.group = "10,000 records"
    cells = load_params(project).cells("large")
    store = Store(project / "results" / "boards" / "large" / "records")
    assert benchmark.pedantic(lambda: store.missing(cells), rounds=7) == []


def test_report(benchmark: Any, project: Path) -> None:
    """In a process of its own, start included."""
    benchmark.group = "10,000 records"
    code = (
        "from pipelines.cli.main import app; "
        "app(['report', '--board', 'large'], standalone_mode=False);"
        "print(*[x.split()[1] for x in open('/proc/self/status') if x.startswith('VmHWM')] or '0')"
    )

    def report() -> str:
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=True
        )
        return done.stdout.splitlines()[-1]

    kibibytes = int(benchmark.pedantic(report, rounds=3))
    benchmark.extra_info["peak megabytes"] = round(kibibytes / 1024)


def test_start(benchmark: Any, project: Path) -> None:
    """Commands of a new process; ``list`` reads the methods without importing torch."""
    benchmark.group = "start"
    times: dict[str, list[float]] = {"--help": [], "list": []}

    def both() -> None:
        for name, series in times.items():
            start = time.perf_counter()
            subprocess.run(
                [str(Path(sys.executable).parent / "dpap-bench"), name],
                cwd=project,
                capture_output=True,
                check=True,
            )
            series.append(time.perf_counter() - start)

    benchmark.pedantic(both, rounds=7, warmup_rounds=1)
    benchmark.extra_info |= {
        f"dpap-bench {name}, seconds": round(sorted(series)[len(series) // 2], 3)
        for name, series in times.items()
    }


def test_overhead_of_a_cell(benchmark: Any, params: Params, data_root: Path) -> None:
    """What a cell takes beside training: data, tracing, evaluations, latencies, cost."""
    benchmark.group = "start"
    spec = params.spec("digits-snn", "dpap", "structured", 0.25, 0)
    run_cell(spec, data_root)
    records = []
    benchmark.pedantic(lambda: records.append(run_cell(spec, data_root)), rounds=3)
    rest = [record.total_seconds - record.train_seconds for record in records]
    benchmark.extra_info["seconds beside training"] = round(sorted(rest)[1], 3)
