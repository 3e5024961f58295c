"""The critical-difference diagram (Demšar 2006, figure 1)."""

from __future__ import annotations

from typing import Any

import altair as alt

from pipelines.report.critical import CriticalDifference

_LANE, _WIDTH = 18, 460
#: Pixels around it: where it is shown, letters may be wider than where it was drawn.
_PADDING = 24
#: Labels stand so far beside the axis, in ranks.
_MARGIN = 0.3


def diagram_name(one: CriticalDifference) -> str:
    """Name of the figure's files."""
    track = "" if one.track == "from-scratch" else f"-{one.track}"
    return f"critical-difference-{one.granularity}{track}"


def critical_difference_figure(one: CriticalDifference) -> dict[str, Any]:
    """Vega-Lite specification: methods at their average ranks; a bar joins those not separated.

    The better half is labelled on the left; the bar at the bottom is the critical difference.
    """
    methods = _methods(one)
    bottom = max(entry["lane"] for entry in methods) + 1
    ends = [1 - _MARGIN, len(one.methods) + _MARGIN]
    scale = alt.Scale(domain=ends, nice=False, zero=False, clamp=True)
    ticks = alt.Axis(orient="top", tickMinStep=1, format="d", grid=False)
    x = alt.X("rank:Q", title="average rank (1 is best)", scale=scale, axis=ticks)
    y = alt.Y("lane:Q", scale=alt.Scale(domain=[bottom + 1, 0]), axis=None)
    base = alt.Chart(alt.Data(values=methods)).encode(x=x, y=y)
    edge, text = alt.X("edge:Q", scale=scale), alt.Text("label:N")
    layers = [
        base.mark_rule().encode(y2=alt.datum(0)),
        base.mark_rule().encode(x2="edge:Q"),
        base.transform_filter("datum.side === 'left'")
        .mark_text(align="right", dx=-4)
        .encode(x=edge, text=text),
        base.transform_filter("datum.side === 'right'")
        .mark_text(align="left", dx=4)
        .encode(x=edge, text=text),
        alt.Chart(alt.Data(values=_bars(one)))
        .mark_rule(strokeWidth=5, color="#0072B2")
        .encode(x=x, x2="last:Q", y=y),
        alt.Chart(alt.Data(values=_scale(one, bottom)))
        .mark_rule(strokeWidth=2)
        .encode(x=x, x2="last:Q", y=y),
        alt.Chart(alt.Data(values=_scale(one, bottom)))
        .mark_text(align="left", dy=-8)
        .encode(x=x, y=y, text=text),
    ]
    title = f"{one.granularity}, {one.track}: {one.blocks} blocks of workload, density and seed"
    size = {"width": _WIDTH, "height": _LANE * bottom}
    chart = alt.layer(*layers).properties(**size, title=title, padding=_PADDING)
    specification: dict[str, Any] = chart.configure_view(stroke=None).to_dict()
    return specification


def _methods(one: CriticalDifference) -> list[dict[str, Any]]:
    """Where each method's stem ends, and on which side its label stands."""
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
    """Room above the labels, for the bars."""
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
