"""The records of a board: none is missing, none is outdated."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from pipelines.boards.params import Params
from pipelines.common.errors import BenchError
from pipelines.records.record import RunRecord
from pipelines.records.store import Store
from pipelines.records.trajectory import Moment, Trajectory
from pipelines.report.analysis.board_records import collect
from tests.helpers.handmade import control, record


def test_missing_cells_are_an_error_and_strays_are_not(
    params: Params, records: list[RunRecord], tmp_path: Path
) -> None:
    store = Store(tmp_path)
    for one in records:
        store.write(one)
    wanted = [r.spec for r in records[:4]]
    assert [r.spec for r in collect(wanted, store)] == wanted
    absent = params.spec("digits-snn", "dpap", None, 0.25, 0)
    with pytest.raises(BenchError, match="1 of 5 runs have no record"):
        collect([*wanted, absent], store)


def test_a_control_of_another_parent_is_missing(records: list[RunRecord], tmp_path: Path) -> None:
    store = Store(tmp_path / "records")
    parent = next(r for r in records if r.spec.method == "magnitude")
    one = control(parent, "shuffled", 0.9)
    store.write(parent)
    store.write(one)
    assert [found.run_id for found in collect([one.spec], store)] == [one.run_id]
    store.write(replace(one, parent="0"))
    with pytest.raises(BenchError, match="magnitude-shuffled structured"):
        collect([one.spec], store)


def test_the_number_of_test_samples_is_kept(params: Params, tmp_path: Path) -> None:
    """Intervals of a data set of the user's own need it."""
    store = Store(tmp_path)
    one = record(params, "magnitude", 0, 0.9)
    assert one.outcome is not None
    matrix = [[5, 1], [2, 4]]
    store.write(replace(one, outcome=replace(one.outcome, confusion=matrix)))
    (found,) = collect([one.spec], store)
    assert found.outcome is not None
    assert found.outcome.confusion == [[12]]


def test_one_run_of_each_method_keeps_its_trajectory(params: Params, tmp_path: Path) -> None:
    """That of the smallest density and the first seed; cards draw it."""
    store = Store(tmp_path)
    moved = Trajectory(moments=(Moment(progress=0.5, units={"fc1": 3}),))
    made = [
        replace(record(params, name, seed, 0.9, density), trajectory=moved)
        for name in ("random", "magnitude")
        for density in (0.5, 0.1)
        for seed in (1, 0)
    ]
    for one in made:
        store.write(one)
    found = collect([one.spec for one in made], store)
    kept = [(r.spec.name, r.spec.density, r.spec.seed) for r in found if r.trajectory.moments]
    assert kept == [("random", 0.1, 0), ("magnitude", 0.1, 0)]
