"""Every figure is held against the schema of Vega-Lite, and can be drawn."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import altair
import pytest
from jsonschema import ValidationError
from msgspec.structs import replace as replaced

from pipelines.boards.params import Params
from pipelines.records.trajectory import Moment, Trajectory
from pipelines.report.analysis.critical_difference import critical_differences
from pipelines.report.analysis.history import history
from pipelines.report.analysis.rows import make_rows
from pipelines.report.charts.accuracy import accuracy_over_density
from pipelines.report.charts.confusion import confusion_figure
from pipelines.report.charts.critical_difference import critical_difference_figure
from pipelines.report.charts.history import history_figure
from pipelines.report.charts.layers import layers_figure
from pipelines.report.charts.vega import Part, data, draw, figure, layer, nominal, png, save
from tests.helpers.handmade import board, layered, record
from tests.helpers.paths import ROOT
from tools.survival_picture import survival_figure


def accuracies(params: Params) -> Part:
    return accuracy_over_density(make_rows(board(params, ("dense", "random"))), "digits-snn")


def ranks(params: Params) -> Part:
    rows = make_rows(board(params, ("random", "magnitude", "taylor")))
    many = [
        replace(row, workload=name)
        for name in "uvwxyz"
        for row in rows
        if row.workload == "digits-snn"
    ]
    return critical_difference_figure(critical_differences(many)[0])


def layers(params: Params) -> Part:
    outcome = layered(record(params, "magnitude", 0, 0.9), 0.5).outcome
    assert outcome is not None
    return layers_figure(outcome.cost, "layers")


def kept(params: Params) -> Part:
    moments = (Moment(progress=0.5, units={"fc1": 16}), Moment(progress=0.6, units={"conv1": 4}))
    one = record(params, "magnitude", 0, 0.9)
    found = history(replaced(one, trajectory=Trajectory(moments=moments)))
    assert found is not None
    return history_figure(found, [{"conv1": 0.5, "fc1": None}], [0.5], "history")


#: By the module that makes it.
FIGURES: dict[str, Callable[[Params], Part]] = {
    "accuracy": accuracies,
    "critical_difference": ranks,
    "history": kept,
    "layers": layers,
    "confusion": lambda _: confusion_figure([[9, 1], [0, 10]], "confusion"),
    "survival_picture": lambda _: survival_figure(),
}


def check(specification: Part) -> None:
    """Raise ValidationError unless it is Vega-Lite."""
    altair.Chart.from_dict(json.loads(json.dumps(specification)))


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_vega_lite_and_can_be_drawn(name: str, params: Params) -> None:
    made = FIGURES[name](params)
    check(made)
    assert draw(made).startswith("<svg")


def test_no_figure_is_left_out() -> None:
    makers = set()
    for file in (*ROOT.glob("pipelines/report/charts/*.py"), *ROOT.glob("tools/*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "pipelines.report.charts.vega":
                makers |= {file.stem for name in node.names if name.name == "figure"}
    assert makers == set(FIGURES), "give the new figure a function in FIGURES"


@pytest.mark.parametrize(
    "wrong",
    [
        figure("a", mark="line", encoding={"x": {"field": "a", "type": "number"}}),
        figure("a", layer=[layer("line", {"shade": nominal("a")})]),
        figure("a", layer=[layer("line", {}, strokWidth=1)]),
        figure("a", layer=[layer("line", {})], wide=3),
    ],
)
def test_the_schema_finds_what_is_not_vega_lite(wrong: Part) -> None:
    with pytest.raises(ValidationError):
        check(wrong | {"data": data([])})


def test_a_picture_is_saved_at_two_pixels_per_point(tmp_path: Path) -> None:
    picture = draw(figure("a", data=data([{"a": "x"}]), mark="point", width=50, height=40))
    save(picture, tmp_path, "name")
    assert (tmp_path / "name.svg").read_text() == picture
    written = (tmp_path / "name.png").read_bytes()
    assert written == png(picture, scale=2) != png(picture, scale=1)


def test_a_layer_has_rows_and_a_filter_only_if_it_is_given_them() -> None:
    assert layer("rule", {"y": {"datum": 0}}) == {
        "mark": {"type": "rule"},
        "encoding": {"y": {"datum": 0}},
    }
    rows = data([{"a": 1}])
    part = layer("text", {}, only="datum.a > 0", of=rows, dx=3)
    assert part["transform"] == [{"filter": "datum.a > 0"}]
    assert (part["data"], part["mark"]) == (rows, {"type": "text", "dx": 3})
