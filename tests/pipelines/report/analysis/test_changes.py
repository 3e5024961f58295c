"""Changes between two times of a board, by hand: which rows came, went, moved, and by how much."""

from __future__ import annotations

from math import sqrt

import pytest
from msgspec.structs import replace

from pipelines.boards.params import Params
from pipelines.records.record import RunRecord
from pipelines.report.analysis.changes import Shared, changes
from tests.helpers.handmade import control, record


@pytest.fixture
def old(params: Params) -> list[RunRecord]:
    """Three rows: the unpruned network, random and magnitude, which has a control."""
    made = []
    for seed in (0, 1, 2):
        made.append(record(params, "dense", seed, 0.98))
        made.append(record(params, "random", seed, 0.90 + seed / 100))
        made.append(record(params, "magnitude", seed, 0.92 + seed / 100))
        made.append(control(made[-1], "shuffled", 0.91))
    return made


def of(records: list[RunRecord], method: str) -> list[RunRecord]:
    return [one for one in records if one.spec.method == method]


def test_equal_records_change_nothing(old: list[RunRecord]) -> None:
    later = [replace(one, train_seconds=9.0, total_seconds=99.0) for one in old]
    found = changes(old, later)
    assert (found.came, found.went, found.moved, found.unchanged) == ((), (), (), 3)
    assert found.shared == Shared(cells=12), "times are no results"


def test_rows_come_and_go(params: Params, old: list[RunRecord]) -> None:
    new = [one for one in old if one.spec.method != "random"]
    new += [record(params, "lamp", seed, 0.93) for seed in (0, 1, 2)]
    found = changes(old, new)
    assert [row.method for row in found.came] == ["lamp"]
    assert [row.method for row in found.went] == ["random"]
    assert (found.moved, found.unchanged) == ((), 2)
    assert found.shared.cells == 3 + 6


def test_a_row_moves_by_the_paired_difference(params: Params, old: list[RunRecord]) -> None:
    others = [one for one in old if one.spec.method != "random"]
    # 0.90, 0.91, 0.92 become 0.91, 0.93, 0.95: differences of 1, 2 and 3 points.
    new = [record(params, "random", seed, 0.91 + seed / 50) for seed in (0, 1, 2)]
    found = changes(old, [*others, *new])
    (move,) = found.moved
    assert (move.method, move.old.method, found.unchanged) == ("random", "random", 2)
    assert move.difference is not None
    assert move.difference.mean == pytest.approx(0.02)
    # Student's t of 2 degrees of freedom is 4.3027; the standard deviation is one point.
    assert move.difference.half_width == pytest.approx(4.3027 * 0.01 / sqrt(3), rel=1e-4)
    assert move.shared == Shared(cells=3, results=3)


def test_more_seeds_move_a_row_and_common_seeds_are_compared(
    params: Params, old: list[RunRecord]
) -> None:
    found = changes(old, [*old, record(params, "random", 3, 0.5)])
    (move,) = found.moved
    assert move.difference is not None
    assert (move.difference.mean, move.difference.seeds) == (0.0, 3)
    assert (len(move.old.accuracies), len(move.new.accuracies)) == (3, 4)
    assert move.shared == Shared(cells=3)


def test_a_changed_control_moves_its_row(old: list[RunRecord]) -> None:
    one = next(one for one in old if one.spec.control and one.spec.seed == 1)
    new = [control(of(old, "magnitude")[2], "shuffled", 0.5) if r is one else r for r in old]
    (move,) = changes(old, new).moved
    assert (move.method, move.shared) == ("magnitude", Shared(cells=6, results=1))


def test_code_environment_and_settings_are_counted_apart(old: list[RunRecord]) -> None:
    elsewhere = old[0].environment.model_copy(update={"processor": "another"})
    spec = replace(old[1].spec, options={"scope": "erk"})
    new = [
        replace(old[0], code_digest="b" * 64, environment=elsewhere),
        replace(old[1], spec=spec, run_id=spec.run_id),
        *old[2:],
    ]
    found = changes(old, new)
    assert (found.moved, found.unchanged) == ((), 3)
    assert found.shared == Shared(cells=12, settings=1, code=1, environment=1)


def test_figures_that_an_older_record_lacks_are_no_change(old: list[RunRecord]) -> None:
    lacking = []
    for one in old:
        assert one.outcome is not None
        lacking.append(replace(one, outcome=replace(one.outcome, confusion=None)))
    assert changes(lacking, old).moved == ()


def test_a_new_row_may_move_the_rank_of_a_row_with_equal_records(params: Params) -> None:
    def row(method: str, *accuracies: float) -> list[RunRecord]:
        return [record(params, method, seed, value) for seed, value in enumerate(accuracies)]

    old = row("random", 0.50, 0.51, 0.50, 0.51, 0.50) + row("taylor", 0.50, 0.50, 0.51, 0.51, 0.50)
    found = changes(old, old + row("magnitude", 0.90, 0.91, 0.90, 0.90, 0.91))
    assert [row.method for row in found.came] == ["magnitude"]
    assert {m.method: (m.old.rank, m.new.rank) for m in found.moved} == {
        "random": (1, 2),
        "taylor": (1, 2),
    }
    assert all(m.shared.results == 0 for m in found.moved)
