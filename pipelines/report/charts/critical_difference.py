"""The critical-difference diagram (Demšar 2006, figure 1)."""

from __future__ import annotations

from functools import cache
from typing import Any

from pipelines.report.analysis.critical_difference import CriticalDifference
from pipelines.report.charts.vega import Part, data, draw, figure, layer, nominal, quantitative

_LANE, _WIDTH = 18, 460
#: Pixels around the figure: fonts may be wider where it is shown than where it was drawn.
_PADDING = 24
#: Distance of the labels from the axis, in ranks.
_MARGIN = 0.3
_TICKS = {"orient": "top", "tickMinStep": 1, "format": "d", "grid": False}


def diagram_name(one: CriticalDifference) -> str:
    """Name of the figure's files."""
    track = "" if one.track == "from-scratch" else f"-{one.track}"
    return f"critical-difference-{one.granularity}{track}"


def critical_difference_figure(one: CriticalDifference) -> Part:
    """Make the Vega-Lite specification: methods at their average ranks, bars join equal groups.

    The better half is labelled on the left. The bar at the bottom is the critical difference.
    """
    methods = _methods(one)
    bottom = max(entry["lane"] for entry in methods) + 1
    ends = [1 - _MARGIN, len(one.methods) + _MARGIN]
    scale = {"domain": ends, "nice": False, "zero": False, "clamp": True}
    x = quantitative("rank", title="average rank (1 is best)", scale=scale, axis=_TICKS)
    y = quantitative("lane", scale={"domain": [bottom + 1, 0]}, axis=None)
    place = {"x": x, "y": y}
    text = place | {"text": nominal("label")}
    beside = text | {"x": quantitative("edge", scale=scale)}
    span = place | {"x2": {"field": "last"}}
    stems, bars, legend = data(methods), data(_bars(one)), data(_scale(one, bottom))
    layers = [
        layer("rule", place | {"y2": {"datum": 0}}, of=stems),
        layer("rule", place | {"x2": {"field": "edge"}}, of=stems),
        layer("text", beside, only="datum.side === 'left'", of=stems, align="right", dx=-4),
        layer("text", beside, only="datum.side === 'right'", of=stems, align="left", dx=4),
        layer("rule", span, of=bars, strokeWidth=5, color="#0072B2"),
        layer("rule", span, of=legend, strokeWidth=2),
        layer("text", text, of=legend, align="left", dy=-8),
    ]
    return figure(
        f"{one.granularity}, {one.track}: {one.blocks} workloads",
        layer=layers,
        width=_WIDTH,
        height=_LANE * bottom,
        padding=_PADDING,
        config={"view": {"stroke": None}},
    )


@cache
def critical_difference_diagram(one: CriticalDifference) -> str:
    """Draw the figure as SVG, for its file and for the page."""
    return draw(critical_difference_figure(one))


def _methods(one: CriticalDifference) -> list[dict[str, Any]]:
    """Position of each method's stem, and the side of its label."""
    entries = []
    number = len(one.methods)
    for i, (method, rank) in enumerate(zip(one.methods, one.ranks, strict=True)):
        left = i < (number + 1) // 2
        entries.append(
            {
                "label": f"{method} {rank:.2f}",
                "rank": rank,
                "lane": 1 + _top(one) + min(i, number - 1 - i),
                "side": "left" if left else "right",
                "edge": 1 - _MARGIN if left else number + _MARGIN,
            }
        )
    return entries


def _top(one: CriticalDifference) -> float:
    """Space above the labels, for the bars."""
    return 0.5 * len(one.alike)


def _bars(one: CriticalDifference) -> list[dict[str, float]]:
    rank = dict(zip(one.methods, one.ranks, strict=True))
    return [
        {"rank": rank[group[0]], "last": rank[group[-1]], "lane": 0.5 * (i + 1)}
        for i, group in enumerate(one.alike)
    ]


def _scale(one: CriticalDifference, lane: float) -> list[dict[str, Any]]:
    difference = one.critical_difference
    label = f"critical difference {difference:.2f}"
    return [{"rank": 1.0, "last": 1.0 + difference, "lane": lane + 0.5, "label": label}]
