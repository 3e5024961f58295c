"""Rows, tables and page, from records made by hand."""

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
from pipelines.metrics.numbers import MISSING
from pipelines.records.outcome import EpochPoint
from pipelines.records.record import RunRecord
from pipelines.records.store import Store
from pipelines.report.analysis.board_records import collect
from pipelines.report.analysis.rows import make_rows
from pipelines.report.analysis.standings import analyse
from pipelines.report.analysis.stats import Estimate
from pipelines.report.build import update_tables
from pipelines.report.charts.accuracy import accuracy_over_density
from pipelines.report.page.curves import chart_data
from pipelines.report.page.page import render
from pipelines.report.tables.density import COLUMNS, make_tables
from pipelines.report.tables.document import to_csv, to_json
from pipelines.report.tables.markdown import table_markdown, to_markdown
from pipelines.report.tables.paper import paper_tables
from pipelines.report.tables.summary import summary_markdown
from tests.helpers.handmade import control, record


@pytest.fixture
def records(params: Params) -> list[RunRecord]:
    made = []
    for seed in (0, 1, 2):
        made.append(record(params, "dense", seed, 0.98 + seed / 1000))
        made.append(record(params, "random", seed, 0.90 + seed / 100))
        made.append(record(params, "magnitude", seed, 0.95))
        made.append(record(params, "dpap", seed, 0.94, "emergent"))
    made.append(record(params, "dpap", 0, 0.93))
    made.append(record(params, "dpap", 1, 0.0, status="diverged"))
    return made


def test_rows(records: list[RunRecord]) -> None:
    rows = {(r.method, str(r.target)): r for r in make_rows(records)}
    magnitude = rows["magnitude", "0.5"]
    assert magnitude.accuracy is not None
    assert magnitude.accuracy.mean == pytest.approx(0.95)
    assert magnitude.drop is not None
    assert magnitude.drop.mean == pytest.approx(0.031)
    assert magnitude.gain_over_random is not None
    assert magnitude.gain_over_random.mean == pytest.approx(0.04)
    assert rows["dpap", "0.5"].gain_over_magnitude == Estimate(pytest.approx(-0.02), None, 1)
    assert magnitude.gain_over_magnitude is None
    assert magnitude.accuracies == {0: 0.95, 1: 0.95, 2: 0.95}
    assert magnitude.means["flops"] == 2000
    assert magnitude.means["latency_milliseconds_batch_128"] == 5.0
    assert magnitude.means["masked_latency_milliseconds"] == 0.6
    assert magnitude.means["samples_per_second"] == 50
    assert rows["random", "0.5"].gain_over_random is None, "the control has no gain over itself"
    assert rows["dense", "1.0"].drop is None
    assert rows["dpap", "emergent"].gain_over_random is None, "no control at its density"
    assert rows["dpap", "0.5"].statuses == {"diverged": 1, "ok": 1}
    assert rows["dpap", "0.5"].accuracy is not None
    assert rows["dpap", "0.5"].accuracy.seeds == 1


def test_timings_of_two_machines_are_not_averaged(records: list[RunRecord]) -> None:
    other = records[0].environment.model_copy(update={"processor": "another"})
    mixed = [replace(r, environment=other) if r.spec.seed else r for r in records]
    assert all(r.means["train_seconds"] is None for r in make_rows(mixed) if len(r.statuses) == 1)
    assert all(r.means["train_seconds"] for r in make_rows(records))


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


def test_order_is_density_then_accuracy_then_emergent(records: list[RunRecord]) -> None:
    names = [(r.method, str(r.target)) for r in make_rows(records)]
    assert names == [
        ("dense", "1.0"),
        ("magnitude", "0.5"),
        ("dpap", "0.5"),
        ("random", "0.5"),
        ("dpap", "emergent"),
    ]


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


def test_missing_cells_are_an_error_and_strays_are_not(
    params: Params, records: list[RunRecord], tmp_path: Path
) -> None:
    store = Store(tmp_path)
    for one in records:
        store.write(one)
    wanted = [r.spec for r in records[:4]]
    assert [r.spec for r in collect(wanted, store)] == wanted
    absent = params.spec("digits-snn", "dpap", None, 0.25, 0)
    with pytest.raises(BenchError, match="1 of 5 cells have no record"):
        collect([*wanted, absent], store)


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


def test_a_summary_has_a_line_for_each_method(params: Params) -> None:
    made = [record(params, "dense", seed, 0.98) for seed in (0, 1)]
    for density, random, magnitude in ((0.5, 0.90, 0.95), (0.1, 0.70, 0.80)):
        for seed in (0, 1):
            made.append(record(params, "random", seed, random, density))
            made.append(record(params, "magnitude", seed, magnitude + seed / 100, density))
    assert summary_markdown(make_rows(made)).splitlines() == [
        "**digits-snn, structured, from-scratch.** Unpruned: 98.00 %.",
        "",
        "| method | density 0.5 | density 0.1 | over own shuffle |",
        "| --- | ---: | ---: | ---: |",
        f"| magnitude | 95.50 (+5.50) | 80.50 (+10.50) | {MISSING} |",
        f"| random | 90.00 | 70.00 | {MISSING} |",
    ]


def test_twins_stand_beside_the_emergent_row(
    params: Params, records: list[RunRecord], tmp_path: Path
) -> None:
    store = Store(tmp_path)
    for one in records:
        store.write(one)
    board = Board(
        workloads=("digits-snn",),
        baselines=("random", "magnitude"),
        dpap=("dpap",),
        granularities=("structured",),
        emergent=True,
        seeds=(0, 1, 2),
    )
    twins = params.model_copy(update={"boards": {"b": board}}).twins("b", store)
    assert {(t.method, t.density, t.twin_of, t.seed) for t in twins} == {
        (method, 0.4, "dpap", seed) for method in ("random", "magnitude") for seed in (0, 1, 2)
    }
    assert store.path(twins[0]).parent.name == "dpap-twins"
    made = [
        replace(record(params, t.method, t.seed, 0.92, 0.4), spec=t, run_id=t.run_id) for t in twins
    ]
    rows = {(r.method, str(r.target)): r for r in make_rows([*records, *made])}
    gain = rows["dpap", "emergent"].gain_over_random
    assert gain is not None
    assert gain.mean == pytest.approx(0.02)
    assert rows["magnitude", "as dpap"].gain_over_random is not None
    assert rows["random", "0.5"].means["density"] == 0.5, "twins are rows of their own"


def test_controls_are_a_column_and_no_rows(params: Params, records: list[RunRecord]) -> None:
    magnitude = [r for r in records if r.spec.method == "magnitude"]  # 0.95 at each seed
    shuffles = [
        control(one, "shuffled", accuracy)
        for one, accuracy in zip(magnitude, (0.92, 0.93, 0.94), strict=True)
    ]
    before = make_rows(records)
    rows = make_rows([*records, *shuffles])
    assert [(r.method, r.target) for r in rows] == [(r.method, r.target) for r in before]
    row = next(r for r in rows if r.method == "magnitude")
    assert row.gain_over_shuffled is not None
    # Differences 3, 2 and 1 points: mean 2, half-width 4.302653 x 1 / sqrt(3).
    assert row.gain_over_shuffled.mean == pytest.approx(0.02)
    assert row.gain_over_shuffled.half_width == pytest.approx(0.01 * 4.302653 / 3**0.5, rel=1e-6)
    assert row.gain_over_reinit is None
    assert row.accuracy == next(r for r in before if r.method == "magnitude").accuracy

    (table,) = make_tables(rows)
    assert "over own shuffle" in [c.title for c in table.columns]
    assert "over reinit" not in [c.title for c in table.columns], "nobody has one"
    assert "+2.00 ± 2.48" in table_markdown(table)
    assert "over own shuffle" not in table_markdown(make_tables(before)[0])
    assert "+2.00 ± 2.48" in render("b", rows, [table], [*records, *shuffles])
    line = next(x for x in csv.DictReader(io.StringIO(to_csv(rows))) if x["method"] == "magnitude")
    assert float(line["gain_over_shuffled"]) == row.gain_over_shuffled.mean
    assert line["gain_over_reinit_half_width"] == ""
    document = json.loads(to_json("b", analyse(rows), records))
    assert {"gain_over_shuffled", "gain_over_reinit"} <= document["rows"][0].keys()

    again = [control(magnitude[0], "reinit", 0.96), control(magnitude[1], "reinit", 0, "failed")]
    row = next(r for r in make_rows([*records, *again]) if r.method == "magnitude")
    assert row.gain_over_reinit is not None
    assert row.gain_over_reinit.mean == pytest.approx(-0.01)
    assert row.gain_over_reinit.seeds == 1, "only what is ok"


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
