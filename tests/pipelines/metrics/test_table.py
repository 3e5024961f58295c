"""The table of metrics: each value by hand, and one more entry that reaches every reader."""

from __future__ import annotations

import ast
import csv
import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from msgspec.structs import replace

from pipelines.boards.params import Params, load_params
from pipelines.metrics.table import METRICS
from pipelines.records.outcome import LayerCost
from pipelines.records.record import RunRecord
from pipelines.records.store import Store, board_store
from pipelines.report.analysis.rows import Row
from tests.helpers.handmade import record
from tests.helpers.paths import ROOT
from tests.helpers.projects import copy_settings, write_params

#: Value of each metric for `measured`, worked out by hand.
EXPECTED = {
    "test_accuracy": 0.95,
    "test_loss": 0.1,
    "density": 0.5,
    "parameters": 60,
    "flops": 2 * 1000,
    "flops_static_once": 2 * (400 / 4 + 600),
    "dense_macs": 400,
    "effective_macs": 10.0,
    "effective_macs_static_once": 10 / 4,
    "synops": 200.0,
    "synops_static_once": 200.0,
    "membrane_updates": 64,
    "activation_sparsity": 0.75,
    "connection_sparsity": 0.5,
    "timestep_sparsity": 0.125,
    "energy_nanojoule": 0.2,
    "energy_nanojoule_static_once": (4.6 * 2.5 + 0.9 * 200) / 1000,
    "energy_nanojoule_dense_macs": (4.6 * 100 + 0.9 * 200) / 1000,
    # conv1 keeps 36 of 8 x 9 weights; conv2 all 16 x 72 that exist; fc1 64 of 32 x 64.
    "storage_bytes_bitmap": 4 * 60 + (72 + 32 * 64) // 8,
    # Places in rows of 9 and 64, and 9 and 33 row pointers to 36 and 64 weights.
    "storage_bytes_csr": 4 * 60 + math.ceil((36 * 4 + 9 * 6 + 64 * 6 + 33 * 7) / 8),
    "train_seconds": 2.0,
    "samples_per_second": 100 / 2.0,
    "latency_milliseconds": 0.5,
    "latency_milliseconds_batch_128": 5.0,
    "masked_latency_milliseconds": 0.6,
    "masked_latency_milliseconds_batch_128": 6.0,
}
#: Figures that records of older code do not have, as those made by hand.
OLDER = {"membrane_updates", "activation_sparsity", "connection_sparsity"}
#: Figures that need the costs of the layers, which records made by hand do not have.
OF_LAYERS = {
    "flops_static_once",
    "dense_macs",
    "effective_macs_static_once",
    "synops_static_once",
    "energy_nanojoule_static_once",
    "energy_nanojoule_dense_macs",
    "storage_bytes_bitmap",
    "storage_bytes_csr",
}


def with_cost(one: RunRecord, layout: str = "x", **figures: Any) -> RunRecord:
    assert one.outcome is not None
    cost = replace(one.outcome.cost, **figures)
    return replace(one, outcome=replace(one.outcome, cost=cost, layout=layout))


def layer(density: float, dense: int, macs: float = 0.0, acs: float = 0.0) -> LayerCost:
    return LayerCost(
        density=density,
        dense_operations=dense,
        effective_macs=macs,
        effective_acs=acs,
        firing_rate=0.1,
    )


#: Of `digits-snn`, 16C3-MP2-32C3-MP2-64FC, when half of its units are gone.
LAYERS = {
    "conv1": layer(36 / (16 * 9), 400, macs=10),
    "conv2": layer(16 * 72 / (32 * 144), 500, acs=150),
    "fc1": layer(64 / (64 * 128), 90, acs=40),
    "readout": layer(1.0, 10, acs=10),
}


@pytest.fixture(scope="module")
def measured(params: Params) -> RunRecord:
    """A record that has every figure: 10 effective MACs, 200 SynOps, 1000 dense operations."""
    return with_cost(
        record(params, "magnitude", 0, 0.95),
        membrane_updates=64,
        activation_sparsity=0.75,
        connection_sparsity=0.5,
        timestep_sparsity=0.125,
        layers=LAYERS,
        layout="8C3-MP2-16C3-MP2-32FC",
    )


def test_every_value_is_that_of_the_record(measured: RunRecord) -> None:
    found = {name: metric.read(measured) for name, metric in METRICS.items()}
    assert found == pytest.approx(EXPECTED)


def test_events_and_artificial_networks_charge_the_first_layer_once(params: Params) -> None:
    """A network without repeated input has one convention; in an artificial one all are MACs."""
    artificial = {name: layer(1.0, 100, macs=50) for name in ("conv1", "readout")}
    one = with_cost(record(params, "dense", 0, 0.9, workload="digits-ann"), layers=artificial)
    assert METRICS["effective_macs_static_once"].read(one) == 100
    assert METRICS["dense_macs"].read(one) == 200
    assert METRICS["energy_nanojoule_dense_macs"].read(one) == pytest.approx(4.6 * 200 / 1000)
    events = with_cost(record(params, "dense", 0, 0.9, workload="fashion-dvs"), layers=LAYERS)
    assert METRICS["flops_static_once"].read(events) == 2 * 1000


def test_a_layout_of_somebody_else_has_no_storage(measured: RunRecord) -> None:
    strange = with_cost(measured, layout="8C3-MP2")
    assert METRICS["storage_bytes_csr"].read(strange) is None
    assert METRICS["storage_bytes_bitmap"].read(with_cost(measured, layout="?")) is None


def test_names_are_free_and_bounds_hold_every_value(measured: RunRecord) -> None:
    fields = {*Row.__dataclass_fields__, *Row.__annotations__}
    for name, metric in METRICS.items():
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
        assert name not in fields, "a row has a field of this name"
        value = metric.read(measured)
        assert value is not None
        assert metric.bounds[0] <= value <= metric.bounds[1]
        assert metric.format(value) != metric.format(None)


def test_a_run_without_outcome_or_time_has_no_figure(params: Params) -> None:
    failed = record(params, "magnitude", 0, 0.0, status="failed")
    found = {name for name, metric in METRICS.items() if metric.read(failed) is not None}
    assert found == {"train_seconds", "samples_per_second"}
    idle = replace(failed, train_seconds=0.0)
    assert METRICS["samples_per_second"].read(idle) is None


def test_an_old_record_does_not_have_what_was_not_measured_then(params: Params) -> None:
    old = record(params, "magnitude", 0, 0.95)
    missing = {name for name, metric in METRICS.items() if metric.read(old) is None}
    assert missing == OLDER | OF_LAYERS


def documented() -> list[str]:
    """The Python blocks of docs/metrics.md: the entry, and its line of `EXPECTED`."""
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "metrics.md").read_text(), re.DOTALL)


#: Writes a board with one metric more, and prints what its readers have.
READERS = """
import json, sys
from pathlib import Path
from pipelines.audit.plausibility import contradictions
from pipelines.boards.params import load_params
from pipelines.metrics.table import METRICS
from pipelines.records.files import read_record
from pipelines.records.store import board_store
from pipelines.report.build import build
from pipelines.report.tables.document import schema
from pipelines.report.tracking.experiments import experiments
from pipelines.report.tracking.runs import track_group, track_record

root, wrong = Path.cwd(), read_record(Path(sys.argv[1]))
params = load_params(root)
build(params, "small", board_store(root, "small"), root / "out", Path(sys.argv[2]))
(board,) = experiments(params, root)
group = next(group for group in board.groups if group.method == "magnitude")
print(json.dumps({
    "values": [METRICS["operation_share"].read(entry.record) for entry in group.entries],
    "faults": [*contradictions(wrong)],
    "schema": json.loads(schema()),
    "run": {m.key: m.value for m in track_record(group.entries[0]).metrics},
    "method": {m.key: m.value for m in track_group(group).metrics},
}))
"""


@pytest.fixture(scope="module")
def added(
    measured: RunRecord, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A copy of the packages with the entry of docs/metrics.md; its files, and what was printed."""
    place = tmp_path_factory.mktemp("copy")
    for package in ("baselines", "dpap", "pipelines"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, place / package, ignore=ignore)
    table = place / "pipelines" / "metrics" / "table.py"
    before, end, after = table.read_text().partition("    )\n}\n")
    assert end
    table.write_text(f"{before}{documented()[0].rstrip()},\n{end}{after}")

    fields = yaml.safe_load((ROOT / "params.yaml").read_text())
    board = {"workloads": ["digits-snn"], "baselines": ["dense", "magnitude"]}
    grid = {"granularities": ["none", "structured"], "densities": [0.5], "seeds": [0, 1]}
    fields["boards"] = {"small": board | grid}
    copy_settings(place)
    write_params(place, fields)
    params = load_params(place)
    store = board_store(place, "small")
    for seed in (0, 1):
        store.write(record(params, "dense", seed, 0.98))
        store.write(record(params, "magnitude", seed, 0.95))
    wrong = Store(place / "elsewhere").write(
        with_cost(record(params, "magnitude", 0, 0.95), synops=1500.0)
    )
    done = subprocess.run(
        [sys.executable, "-c", READERS, wrong, ROOT / "results" / "published.yaml"],
        cwd=place,
        env=os.environ | {"PYTHONPATH": str(place)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    yield place / "out", json.loads(done.stdout.splitlines()[-1])
    shutil.rmtree(place)


def test_the_documented_value_is_that_of_the_documented_entry(
    added: tuple[Path, dict[str, Any]],
) -> None:
    (value,) = ast.literal_eval(documented()[1]).values()
    assert added[1]["values"] == [value, value] == [(10 + 200) / 1000] * 2


def test_an_added_metric_is_checked(added: tuple[Path, dict[str, Any]]) -> None:
    # (10 + 1500) / 1000
    assert "has operation_share 1.51, which must be in [0, 1]." in added[1]["faults"]


def test_an_added_metric_is_in_every_table(added: tuple[Path, dict[str, Any]]) -> None:
    out, _ = added
    markdown = (out / "leaderboard.md").read_text()
    header, _, _, line = [x for x in markdown.splitlines() if x.startswith("|")][:4]
    names, cells = ([cell.strip() for cell in x.split("|")[1:-1]] for x in (header, line))
    row = dict(zip(names, cells, strict=True))
    assert (row["method"], row["operations %"]) == ("magnitude", "21.00")
    latex = (out / "leaderboard.tex").read_text()
    head = next(x for x in latex.splitlines() if "FLOPs" in x)
    assert r"operations \%" in head.removesuffix(r" \\").split(" & ")


def test_an_added_metric_is_on_the_page(added: tuple[Path, dict[str, Any]]) -> None:
    html = (added[0] / "leaderboard.html").read_text()
    meaning = "Effective MACs and SynOps / dense operations after physical removal."
    assert f'<th scope="col" data-key="operations" title="{meaning}"' in html
    assert f"<dt>operations %</dt><dd>{meaning}</dd>" in html
    found = re.search(r'id="chart-data">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    data = json.loads(found[1])
    axis = {
        "key": "operation_share",
        "name": "operations",
        "title": "effective operations / dense operations",
        "scale": "log",
        "at_targets": False,
    }
    assert axis in data["axes"]
    assert [p["operation_share"] for panel in data["panels"] for p in panel["points"]] == [0.21]


def test_an_added_metric_is_in_json_csv_and_the_schema(
    added: tuple[Path, dict[str, Any]],
) -> None:
    out, found = added
    (_, row) = json.loads((out / "leaderboard.json").read_text())["rows"]
    (_, line) = csv.DictReader((out / "leaderboard.csv").read_text().splitlines())
    assert row["operation_share"] == float(line["operation_share"]) == pytest.approx(0.21)
    described = found["schema"]["$defs"]["Row"]["properties"]["operation_share"]["description"]
    assert described.startswith("Effective MACs and SynOps")
    published = json.loads((ROOT / "docs" / "leaderboard.schema.json").read_text())
    assert "operation_share" not in published["$defs"]["Row"]["properties"], "only the copy has it"


def test_an_added_metric_is_in_mlflow(added: tuple[Path, dict[str, Any]]) -> None:
    found = added[1]
    assert found["run"]["operation_share"] == pytest.approx(0.21)
    assert found["method"]["operation_share/structured"] == pytest.approx(0.21)
    assert found["run"].keys() > METRICS.keys() - OLDER - OF_LAYERS - {"density"}
    assert found["run"]["final_density"] == 0.5, "the name of the metric is that of the curve"
