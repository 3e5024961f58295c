"""Tables at target SynOps: rows and ranks of their own, beside those by density."""

from __future__ import annotations

import pytest

from pipelines.boards.params import Params
from pipelines.records.record import RunRecord
from pipelines.report.analysis.rows import make_rows
from pipelines.report.analysis.standings import analyse
from pipelines.report.page.sections import make_sections
from pipelines.report.tables.density import make_tables
from pipelines.report.tables.standings import synops_target_tables
from tests.helpers.handmade import of_spec, record


def aimed(
    params: Params, method: str, synops: float, accuracy: float, seed: int, status: str = "ok"
) -> RunRecord:
    spec = params.spec("digits-snn", method, "structured", "synops", seed, "from-scratch", synops)
    return of_spec(params, spec, accuracy, status)


@pytest.fixture
def records(params: Params) -> list[RunRecord]:
    made = []
    for seed in range(5):
        noise = 0.001 * seed
        made += [
            record(params, "dense", seed, 0.98),
            record(params, "magnitude", seed, 0.9, 0.1, granularity="structured"),
            aimed(params, "random", 2000, 0.80 + noise, seed),
            aimed(params, "magnitude", 2000, 0.90 + 2 * noise, seed),
            aimed(params, "magnitude", 900, 0.70, seed, "ok" if seed else "off-target"),
        ]
    return made


def test_runs_at_target_synops_have_a_table_of_their_own(records: list[RunRecord]) -> None:
    rows = analyse(make_rows(records)).rows
    (by_density,) = make_tables(rows)
    assert [(row.method, row.target) for row in by_density.rows] == [
        ("dense", 1.0),
        ("magnitude", 0.1),
    ]
    (table,) = synops_target_tables(rows)
    assert table.title == "digits-snn, structured, at target SynOps, from-scratch"
    shown = [(row.method, row.target, row.synops_target, row.rank) for row in table.rows]
    assert shown == [
        ("dense", 1.0, None, None),
        ("magnitude", "2000 SynOps", 2000.0, 1),
        ("random", "2000 SynOps", 2000.0, 2),
        ("magnitude", "900 SynOps", 900.0, None),
    ]
    titles = [column.title for column in table.columns]
    gain = table.columns[titles.index("over random")]
    assert gain.text(table.rows[1]).startswith("+10.20 ± ")
    runs = table.columns[titles.index("runs")]
    assert runs.text(table.rows[3]) == "1 off-target, 4 ok"
    assert "over same allocation" not in titles, "no control was run"


def test_the_section_of_the_page_has_these_tables_first(records: list[RunRecord]) -> None:
    sections = make_sections("equal-synops", analyse(make_rows(records)), [])
    (section,) = (one for one in sections if one.anchor == "synops")
    assert section.tables[0].title.endswith("at target SynOps, from-scratch")


def test_a_board_without_target_synops_has_no_such_table(params: Params) -> None:
    rows = make_rows([record(params, "dense", 0, 0.98), record(params, "magnitude", 0, 0.9)])
    assert synops_target_tables(rows) == []
