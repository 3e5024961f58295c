"""Rows from records: means, differences, order, matched runs and controls."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from pipelines.boards.board import Board
from pipelines.boards.params import Params
from pipelines.records.record import RunRecord
from pipelines.records.store import Store
from pipelines.report.analysis.rows import make_rows
from pipelines.report.analysis.standings import analyse
from pipelines.report.formats.markdown import table_markdown
from pipelines.report.page.page import render
from pipelines.report.statistics.stats import Estimate
from pipelines.report.tables.density import make_tables
from pipelines.report.tables.document import to_csv, to_json
from tests.helpers.handmade import control, layered, record


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


def test_order_is_density_then_accuracy_then_emergent(records: list[RunRecord]) -> None:
    names = [(r.method, str(r.target)) for r in make_rows(records)]
    assert names == [
        ("dense", "1.0"),
        ("magnitude", "0.5"),
        ("dpap", "0.5"),
        ("random", "0.5"),
        ("dpap", "emergent"),
    ]


def test_matched_runs_stand_beside_the_emergent_row(
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
    matched = params.model_copy(update={"boards": {"b": board}}).matched("b", store)
    assert {(t.method, t.density, t.matched_to, t.seed) for t in matched} == {
        (method, 0.4, "dpap", seed) for method in ("random", "magnitude") for seed in (0, 1, 2)
    }
    assert store.path(matched[0]).parent.name == "dpap-matched"
    made = [
        replace(record(params, t.method, t.seed, 0.92, 0.4), spec=t, run_id=t.run_id)
        for t in matched
    ]
    rows = {(r.method, str(r.target)): r for r in make_rows([*records, *made])}
    gain = rows["dpap", "emergent"].gain_over_random
    assert gain is not None
    assert gain.mean == pytest.approx(0.02)
    assert rows["magnitude", "as dpap"].gain_over_random is not None
    assert rows["random", "0.5"].means["density"] == 0.5, "matched runs are rows of their own"


def test_layer_densities_and_widths_are_means_over_seeds(params: Params) -> None:
    found = []
    for seed, layout in enumerate(("4C3-8FC", "5C3-10FC")):
        one = layered(record(params, "magnitude", seed, 0.9, 0.1), 0.1 * (seed + 1))
        assert one.outcome is not None
        found.append(replace(one, outcome=replace(one.outcome, layout=layout)))
    (row,) = make_rows(found)
    # The layers have twice and half the density: 0.2 and 0.4, 0.05 and 0.1.
    assert row.layer_densities == {"conv1": pytest.approx(0.3), "fc1": pytest.approx(0.075)}
    assert row.widths == {"conv1": 4.5, "fc1": 9}
    (table,) = make_tables([row])
    assert "| 30 / 7.5 " in table_markdown(table)
    assert "| 4 / 9 " in table_markdown(table)
    document = json.loads(to_json("b", analyse([row]), found))
    assert document["rows"][0]["widths"] == {"conv1": 4.5, "fc1": 9}
    (unknown,) = make_rows([record(params, "magnitude", 0, 0.9, 0.1)])  # its layout is "x"
    assert unknown.widths == {}


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
    assert "over same allocation" in [c.title for c in table.columns]
    assert "over reinit" not in [c.title for c in table.columns], "nobody has one"
    assert "-0.48 to +4.48" in table_markdown(table), "three seeds tell no direction"
    assert "over same allocation" not in table_markdown(make_tables(before)[0])
    assert "-0.48 to +4.48" in render("b", rows, [table], [*records, *shuffles])
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
