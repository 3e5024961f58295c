"""Which runs of a board have a record: counted by hand, with matched runs and controls."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.boards.board import Board
from pipelines.boards.coverage import Coverage, coverage
from pipelines.boards.params import Params
from pipelines.records.record import RunRecord
from pipelines.records.store import Store
from tests.helpers.handmade import fill, of_spec

BOARD = Board(
    workloads=("digits-snn",),
    baselines=("dense", "random", "magnitude"),
    dpap=("dpap",),
    granularities=("none", "hybrid"),
    densities=(0.5,),
    emergent=True,
    seeds=(0, 1),
    controls=("shuffled",),
)
#: By hand, two seeds each. Unpruned: dense. Hybrid: random, magnitude, dpap and dpap without a
#: target; two matched runs of the latter; controls of magnitude and of both runs of dpap.
UNPRUNED, HYBRID = 2, 2 * (4 + 2 + 3)


@pytest.fixture(scope="module")
def small(params: Params) -> Params:
    return params.model_copy(update={"boards": {"small": BOARD}})


def records_of(params: Params, store: Store) -> dict[str, RunRecord]:
    found = (store.find(spec) for spec in params.everything("small", store))
    return {record.run_id: record for record in found if record is not None}


def test_a_board_without_records_counts_what_its_cells_may_have(small: Params) -> None:
    nothing = coverage(small, "small", {})
    assert (nothing.missing, nothing.cells) == (UNPRUNED + HYBRID, UNPRUNED + HYBRID)
    assert {table.granularity: table.cells for table in nothing.tables} == {
        "none": UNPRUNED,
        "hybrid": HYBRID,
    }
    assert nothing.sentence == "20 of 20 runs are missing"


def test_a_complete_board_has_no_missing_cell(small: Params, tmp_path: Path) -> None:
    store = Store(tmp_path / "records")
    assert fill(small, "small", store) == UNPRUNED + HYBRID
    whole = coverage(small, "small", records_of(small, store))
    assert (whole.missing, whole.cells, whole.sentence) == (0, UNPRUNED + HYBRID, "")
    assert whole.of_table("digits-snn", "from-scratch", "hybrid") == ""
    assert whole.of_workload("digits-snn", "from-scratch") == ""


def test_a_missing_cell_takes_its_matched_runs_and_controls_along(
    small: Params, tmp_path: Path
) -> None:
    store = Store(tmp_path / "records")
    fill(small, "small", store)
    for spec in small.cells("small"):
        if spec.density == "emergent" and spec.seed == 1:
            store.path(spec).unlink()
    found = coverage(small, "small", records_of(small, store))
    assert found.of_table("digits-snn", "from-scratch", "hybrid") == "4 of 18 runs are missing"
    assert found.counts("digits-snn", "from-scratch", "none") == "0 of 2"
    assert [(spec.name, spec.matched_to, spec.control) for spec in found.absent] == [
        ("dpap", "", ""),
        ("random", "dpap", ""),
        ("magnitude", "dpap", ""),
        ("dpap", "", "shuffled"),
    ]


def test_a_failed_run_asks_for_neither_matched_runs_nor_controls(
    small: Params, tmp_path: Path
) -> None:
    store = Store(tmp_path / "records")
    fill(small, "small", store)
    for spec in small.cells("small"):
        if spec.density == "emergent" and spec.seed == 1:
            store.write(of_spec(small, spec, status="diverged"))
    found = coverage(small, "small", records_of(small, store))
    assert (found.missing, found.cells) == (0, UNPRUNED + HYBRID - 3)


def test_one_missing_cell_is_singular(small: Params, tmp_path: Path) -> None:
    store = Store(tmp_path / "records")
    fill(small, "small", store)
    store.path(small.cells("small")[0]).unlink()
    found = coverage(small, "small", records_of(small, store))
    assert found.sentence == "1 of 20 runs is missing"
    assert Coverage().sentence == ""
