"""Tables by density: what is in one table, and what its note says."""

from __future__ import annotations

import pytest

from pipelines.boards.params import Params
from pipelines.records.record import RunRecord
from pipelines.report.analysis.rows import make_rows
from pipelines.report.analysis.standings import analyse
from pipelines.report.tables.density import make_tables
from tests.helpers.handmade import record


def test_tables_never_mix(params: Params, records: list[RunRecord]) -> None:
    records.append(record(params, "magnitude", 0, 0.97, granularity="unstructured"))
    records.append(record(params, "dense", 0, 0.97, workload="digits-ann"))
    records.append(record(params, "magnitude", 0, 0.97, workload="digits-ann"))
    tables = make_tables(make_rows(records))
    keys = [(t.workload, t.granularity) for t in tables]
    assert keys == [
        ("digits-snn", "structured"),
        ("digits-snn", "unstructured"),
        ("digits-ann", "structured"),
    ]
    for table in tables:
        assert table.rows[0].is_reference
        assert {r.granularity for r in table.rows[1:]} == {table.granularity}
        assert {r.workload for r in table.rows} == {table.workload}


@pytest.mark.parametrize(
    ("seeds", "note"), [(2, "too few"), (3, "not ranked"), (5, "share a rank")]
)
def test_seeds_decide_what_may_be_said(params: Params, seeds: int, note: str) -> None:
    made = [
        record(params, method, seed, 0.9) for method in ("dense", "random") for seed in range(seeds)
    ]
    (table,) = make_tables(make_rows(made))
    assert note in table.note


def test_a_note_names_the_densities_of_each_number_of_seeds(params: Params) -> None:
    """Ten seeds at 0.1 and three at 0.25: one note says what holds for each."""
    made = [
        record(params, method, seed, 0.9 + (seed % 3 - (method == "random") * seed) / 100, density)
        for density, seeds in ((0.1, 10), (0.25, 3))
        for method in ("random", "magnitude")
        for seed in range(seeds)
    ]
    rows = make_rows(made)
    (table,) = make_tables(rows, analyse(rows).standings)
    ten, three = table.note.removeprefix("Smallest detectable difference: ").split("; ")
    assert "points at density 0.1 (standard error" in ten
    assert "by 10 seeds, level 0.05 / 1 comparisons)" in ten
    assert "points at density 0.25 (standard error" in three
    assert "3 to 10 seeds: a row needs 3 to be listed and 5 to be ranked." in three
