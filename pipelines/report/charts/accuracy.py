"""The figure of accuracy over density: one per workload and track."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipelines.metrics.numbers import target
from pipelines.metrics.table import METRICS
from pipelines.report.analysis.rows import GRANULARITIES, Row
from pipelines.report.charts.vega import Part, data, figure, layer, nominal, quantitative
from pipelines.settings.spec import EMERGENT

#: Okabe and Ito's palette, which colour-blind readers can tell apart; black is for dense.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
#: With more methods than colours, lines also differ by their dashes.
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [1, 3])
_SIZE = {"width": 225, "height": 210}
_LEGEND = {
    "symbolOpacity": 1,
    "symbolType": "stroke",
    "symbolSize": 400,
    "symbolStrokeWidth": 2,
    "columns": 9,
}
#: Pixels around the figure: fonts may be wider where it is shown than where it was drawn.
_PADDING = 12
_DENSITY = METRICS["density"]
_X = quantitative(
    "density",
    title=_DENSITY.axis.title if _DENSITY.axis else _DENSITY.title,
    scale={"type": "log", "nice": False, "padding": 12},
    axis={"values": [0.05, 0.1, 0.25, 0.5, 1], "format": "~g"},
)
_SHAPES = {"at target": "circle", "emergent": "diamond", "matched run": "triangle-up"}
_TOOLTIP = [
    nominal("method"),
    nominal("kind"),
    quantitative("density", format=".3f"),
    quantitative("accuracy", format=".2f"),
    quantitative("low", format=".2f", title="95 % low"),
    quantitative("high", format=".2f", title="95 % high"),
    quantitative("seeds"),
]
_AT_TARGET = "datum.kind === 'at target'"


def figure_name(workload: str, track: str) -> str:
    """Name of a figure: the workload, and the track unless that is from-scratch."""
    return workload if track == "from-scratch" else f"{workload}-{track}"


def _points(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """One point per row that has an accuracy; the dense network is drawn as a line instead.

    Rows at target SynOps have tables only.
    """
    points = []
    for row in rows:
        if row.is_reference or row.accuracy is None or row.synops_target is not None:
            continue
        half = row.accuracy.half_width or 0.0
        points.append(
            {
                "method": row.method,
                "granularity": row.granularity,
                "kind": kind(row.target),
                "density": row.means["density"],
                "accuracy": 100 * row.accuracy.mean,
                "low": 100 * (row.accuracy.mean - half),
                "high": min(100.0, 100 * (row.accuracy.mean + half)),
                "seeds": row.accuracy.seeds,
            }
        )
    return points


def kind(target: float | str) -> str:
    """Say how the density of a row was chosen."""
    if isinstance(target, float):
        return "at target"
    return "emergent" if target == EMERGENT else "matched run"


def _markers(points: Sequence[dict[str, Any]]) -> Part:
    """Shapes of the kinds that occur; a single kind needs no legend."""
    found = {point["kind"] for point in points}
    shapes = {name: shape for name, shape in _SHAPES.items() if name in found}
    scale = {"domain": list(shapes), "range": list(shapes.values())}
    legend = {"legend": None} if len(shapes) < 2 else {}
    return {"shape": nominal("kind", scale=scale, **legend), "tooltip": _TOOLTIP}


def accuracy_over_density(
    rows: Sequence[Row], workload: str, track: str = "from-scratch", missing: str = ""
) -> Part:
    """Make the Vega-Lite specification of one workload and track, with a panel per granularity.

    Parameters
    ----------
    rows
        All rows of a board.
    workload, track
        Which rows to draw.
    missing
        How many of their cells have no record, for the title; empty if none.

    Returns
    -------
    dict
        Vega-Lite, data included.
    """
    rows = [row for row in rows if (row.workload, row.track) == (workload, track)]
    points = _points(rows)
    dense = next((100 * r.accuracy.mean for r in rows if r.is_reference and r.accuracy), None)
    name = workload if track == "from-scratch" else f"{workload}, {track}"
    targets = {row.target for row in rows if not row.is_reference}
    if len(targets) == 1 and points:
        return _one_density(points, dense, f"{name}, density {target(*targets)}", missing)
    methods = list(dict.fromkeys(p["method"] for p in points))
    domain = sorted(methods)
    colours = [PALETTE[i % len(PALETTE)] for i in range(len(domain))]
    dashes = [DASHES[i // len(PALETTE) % len(DASHES)] for i in range(len(domain))]
    colour = nominal("method", scale={"domain": domain, "range": colours}, legend=_LEGEND)
    dash = nominal("method", scale={"domain": domain, "range": dashes}, legend=_LEGEND)
    low = min([p["low"] for p in points] + [dense if dense is not None else 100.0])
    y = quantitative(
        "accuracy",
        title="test accuracy %",
        scale={"domain": [max(0.0, low - 1), 100.0], "clamp": True},
    )
    place = {"x": _X, "y": y, "color": colour}
    interval = {"y": quantitative("low"), "y2": {"field": "high"}}
    layers = [
        layer("line", place | {"strokeDash": dash}, only=_AT_TARGET, strokeWidth=1.5),
        layer("rule", place | interval, strokeWidth=1.2, opacity=0.55),
        layer("point", place | _markers(points), filled=True, size=60, opacity=1),
    ]
    if dense is not None:
        layers.append(layer("rule", {"y": {"datum": dense}}, strokeDash=[4, 3]))
    return figure(
        _title(name, missing),
        data=data(points),
        facet={"column": nominal("granularity", title=None, sort=list(GRANULARITIES))},
        spec={"layer": layers, **_SIZE},
        config={"legend": {"orient": "bottom"}},
    )


def _title(name: str, missing: str) -> str:
    return f"{name} (dashed: dense; bars: 95 % interval{f'; {missing}' if missing else ''})"


def _one_density(
    points: Sequence[dict[str, Any]], dense: float | None, name: str, missing: str
) -> Part:
    """Make the figure of a board with one density: in each panel, the best method comes first."""
    best_first = {"field": "accuracy", "op": "mean", "order": "descending"}
    scale = {"zero": False, "nice": True}
    place = {
        "y": nominal("method", title=None, sort=best_first),
        "x": quantitative("accuracy", title="test accuracy %", scale=scale),
    }
    interval = {"x": quantitative("low"), "x2": {"field": "high"}}
    layers = [
        layer("rule", place | interval, strokeWidth=1.5, color=PALETTE[0]),
        layer("point", place | {"tooltip": _TOOLTIP}, filled=True, size=60, color=PALETTE[0]),
    ]
    if dense is not None:
        layers.append(layer("rule", {"x": {"datum": dense}}, strokeDash=[4, 3]))
    return figure(
        _title(name, missing),
        data=data(points),
        facet={"column": nominal("granularity", title=None, sort=list(GRANULARITIES))},
        spec={"layer": layers, "width": _SIZE["width"], "height": {"step": 24}},
        resolve={"scale": {"y": "independent"}},
        padding=_PADDING,
    )
