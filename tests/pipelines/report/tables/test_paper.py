"""The measures of the DPAP paper."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from pipelines.boards.params import Params
from pipelines.records.outcome import EpochPoint
from pipelines.records.record import RunRecord
from pipelines.report.analysis.rows import make_rows
from pipelines.report.formats.markdown import table_markdown
from pipelines.report.tables.paper import paper_tables


def test_measures_of_the_paper(params: Params, records: list[RunRecord]) -> None:
    def curve(*accuracies: float) -> list[EpochPoint]:
        point = records[0].curve[0]
        return [
            replace(point, validation_accuracy=a, seconds=float(i))
            for i, a in enumerate(accuracies, start=1)
        ]

    def changed(one: RunRecord) -> RunRecord:
        if one.spec.method == "dense":
            return replace(one, curve=curve(0.5, 0.96, 0.95))
        if one.spec.seed == 0:
            return replace(one, curve=curve(0.96, 0.9, 0.97))
        return replace(one, curve=curve(0.9, 0.94, 0.95))

    made = [changed(one) for one in records if one.spec.density != 0.5]
    (table,) = paper_tables(make_rows(made), made)
    assert [r.method for r in table.rows] == ["dense", "dpap"]
    dense, dpap = table.rows
    assert dense.reached == (2, 2, 2), "the dense network is late at its own best by definition"
    assert dpap.reached == (1,), "one of three seeds gets there"
    assert dpap.energy == pytest.approx(0.4)
    assert dpap.synops == 1.0
    # 2 points below 0.95: reached after epochs 1, 2 and 2.
    assert dpap.seconds_to_target == pytest.approx(5 / 3)
    assert "1.0 (1 of 3)" in table_markdown(table)
    # Without the dense run of seed 1, two seeds are compared; a run that diverged is none of them.
    fewer = [r for r in made if (r.spec.method, r.spec.seed) != ("dense", 1)]
    (table,) = paper_tables(make_rows(fewer), fewer)
    assert "1.0 (1 of 2)" in table_markdown(table)
    lost = [replace(r, status="diverged") if r.spec.seed == 2 else r for r in fewer]
    (table,) = paper_tables(make_rows(lost), lost)
    assert "1.0 (1 of 1)" in table_markdown(table)
