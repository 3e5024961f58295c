"""A whole board: documents that agree, tracks apart, tables written into a document."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from pipelines.boards.board import Board
from pipelines.boards.params import Params
from pipelines.common.errors import BenchError
from pipelines.records.record import RunRecord
from pipelines.records.store import Store
from pipelines.report.analysis.board_records import collect
from pipelines.report.analysis.rows import make_rows
from pipelines.report.analysis.standings import analyse
from pipelines.report.build import update_tables
from pipelines.report.charts.accuracy import accuracy_over_density
from pipelines.report.page.curves import chart_data
from pipelines.report.page.page import render
from pipelines.report.tables.density import COLUMNS, make_tables
from pipelines.report.tables.document import to_csv, to_json
from pipelines.report.tables.markdown import to_markdown
from pipelines.report.tables.paper import paper_tables
from tests.helpers.handmade import record


def test_json_csv_and_markdown_agree(records: list[RunRecord]) -> None:
    rows = make_rows(records)
    document = json.loads(to_json("embedded", analyse(rows), records))
    lines = list(csv.DictReader(io.StringIO(to_csv(rows))))
    assert len(document["rows"]) == len(lines) == len(rows)
    assert document["run_ids"] == sorted(r.run_id for r in records)
    for one, two in zip(document["rows"], lines, strict=True):
        assert one["method"] == two["method"]
        assert float(two["accuracy"]) == one["accuracy"]["mean"]
    text = to_markdown("embedded", make_tables(rows))
    assert "95.00 ± 0.00" in text
    assert "1 diverged, 1 ok" in text
    assert all(column.title in text for column in COLUMNS if not column.optional)


def test_tables_go_between_the_markers_of_a_document(
    params: Params, records: list[RunRecord], tmp_path: Path
) -> None:
    store = Store(tmp_path / "records")
    for one in records:
        store.write(one)
    board = Board(
        workloads=("digits-snn",), baselines=("dense",), seeds=(0, 1, 2), granularities=("none",)
    )
    small = params.model_copy(update={"boards": {"small": board, "other": board}})
    path = tmp_path / "page.md"
    path.write_text(
        "before <!-- board: small -->old<!-- end of board: small --> after"
        "<!-- summary: small -->old<!-- end of summary: small -->"
    )
    with pytest.raises(BenchError, match="no lines '<!-- board: other -->'"):
        update_tables(small, "other", store, path)
    update_tables(small, "small", store, path)
    text = path.read_text()
    assert text.startswith("before <!-- board: small -->")
    assert "<!-- end of board: small --> after<!-- summary: small -->" in text
    assert text.endswith("<!-- end of summary: small -->")
    assert "old" not in text


def later(params: Params, one: RunRecord, checkpoint: str) -> RunRecord:
    """The same run in the post-training track, ten points below."""
    settings = params.workloads[one.spec.workload]
    spec = replace(one.spec, track="post-training", settings=settings)
    assert one.outcome is not None
    outcome = replace(one.outcome, test_accuracy=one.outcome.test_accuracy - 0.1)
    changes = {"spec": spec, "run_id": spec.run_id, "outcome": outcome, "budget": 50}
    return replace(one, **changes, checkpoint=checkpoint)


def test_tracks_never_mix(params: Params, tmp_path: Path) -> None:
    base = [record(params, name, 0, 0.9) for name in ("dense", "random", "dpap")]
    both = [*base, *(later(params, r, "c0") for r in base)]
    rows = make_rows(both)
    assert [t.track for t in make_tables(rows)] == ["from-scratch", "post-training"]
    assert all(r.drop is None or r.drop.mean == 0 for r in rows), "each has a dense of its own"
    for track, accuracy in (("from-scratch", 90), ("post-training", 80)):
        figure = accuracy_over_density(rows, "digits-snn", track)
        assert {round(p["accuracy"]) for p in figure["data"]["values"]} == {accuracy}
    assert len(paper_tables(rows, both)[0].rows) == 2, "the paper trains from scratch"
    html = render("embedded", rows, make_tables(rows), both)
    assert "100 training samples (15 epochs) from-scratch, 50 training samples (8 epochs)" in html
    assert {p["track"] for p in chart_data(rows)["panels"]} == {"from-scratch", "post-training"}

    store = Store(tmp_path / "records")
    for one in [*both[:-1], later(params, base[-1], "c1")]:
        store.write(one)
    with pytest.raises(BenchError, match="digits-snn seed 0 started from 2 different checkpoints"):
        collect([r.spec for r in both], store)
