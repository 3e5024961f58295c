"""Accuracy over density: what the figure of a board has in it."""

from __future__ import annotations

import json
from typing import Any

from pipelines.boards.params import Params
from pipelines.report.analysis.rows import make_rows
from pipelines.report.charts.accuracy import accuracy_over_density
from tests.helpers.handmade import record


def test_the_legend_of_a_figure_has_what_is_in_it(params: Params) -> None:
    runs = [record(params, "magnitude", 0, 0.95, density) for density in (0.5, 0.25)]
    runs.append(record(params, "dpap", 0, 0.94, "emergent"))
    one, both = (accuracy_over_density(make_rows(some), "digits-snn") for some in (runs[:2], runs))
    shapes = [f["spec"]["layer"][2]["encoding"]["shape"] for f in (one, both)]
    assert [s["scale"]["domain"] for s in shapes] == [["at target"], ["at target", "emergent"]]
    assert [s["scale"]["range"] for s in shapes] == [["circle"], ["circle", "diamond"]]
    assert shapes[0]["legend"] is None
    assert "legend" not in shapes[1]


def test_figure_has_every_row_and_the_reference(params: Params) -> None:
    made = [
        record(params, "dense", 0, 0.981),
        record(params, "random", 0, 0.90),
        record(params, "magnitude", 0, 0.95),
        record(params, "dpap", 0, 0.93),
        record(params, "dpap", 0, 0.94, "emergent"),
    ]
    figure = accuracy_over_density(make_rows(made), "digits-snn")
    points: list[dict[str, Any]] = figure["data"]["values"]
    assert {(p["method"], p["kind"]) for p in points} == {
        ("magnitude", "at target"),
        ("random", "at target"),
        ("dpap", "at target"),
        ("dpap", "emergent"),
    }
    assert "98.1" in json.dumps(figure), "the dense line"


def test_at_one_density_methods_stand_one_below_the_other(params: Params) -> None:
    made = [record(params, name, 0, 0.9) for name in ("dense", "random", "magnitude")]
    found = accuracy_over_density(make_rows(made), "digits-snn")
    bars, dots, dense = found["spec"]["layer"]
    assert dots["encoding"]["y"]["field"] == "method"
    assert dots["encoding"]["y"]["sort"]["order"] == "descending", "the best of a panel comes first"
    assert found["resolve"]["scale"]["y"] == "independent", "each panel has its own order"
    assert (bars["encoding"]["x"]["field"], bars["encoding"]["x2"]["field"]) == ("low", "high")
    assert dense["encoding"]["x"] == {"datum": 90.0}
    assert "density 0.5" in found["title"]
