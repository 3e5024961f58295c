"""The figure of `dpap-bench explain`: what a run kept over time, and what its scores knew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipelines.report.analysis.history import History
from pipelines.report.charts.accuracy import PALETTE
from pipelines.report.charts.vega import Part, data, figure, layer, nominal, quantitative

_SHARE = {"domain": [0, 1]}
_SIZE = {"width": 250, "height": 200}


def history_figure(
    found: History,
    correlations: Sequence[Mapping[str, float | None]],
    moments: Sequence[float],
    title: str,
) -> Part:
    """Make the Vega-Lite specification: units, weights, and correlations, side by side.

    Parameters
    ----------
    found
        The history of the run.
    correlations
        At each moment: layer -> Spearman correlation of score and loss increase; empty if the
        method has no scores.
    moments
        Their progress.
    title
        Title of the figure.
    """
    layers = list(found.size)
    colours = [PALETTE[i % len(PALETTE)] for i in range(len(layers))]
    colour = nominal("layer", scale={"domain": layers, "range": colours}, sort=None)
    parts = [
        _over_progress(lines, name, colour)
        for name, lines in (("kept units", found.units), ("kept weights", found.weights))
        if lines
    ]
    if correlations:
        parts.append(_correlations(correlations, moments, colour))
    return figure(title, hconcat=parts)


def _over_progress(
    lines: Mapping[str, Sequence[tuple[float, float]]], title: str, colour: Part
) -> Part:
    values = [
        {"layer": name, "progress": when, "share": share}
        for name, line in lines.items()
        for when, share in (*line, (1.0, line[-1][1]))
    ]
    place = {
        "x": quantitative("progress", title="progress", scale=_SHARE),
        "y": quantitative("share", title=f"{title}, share", scale=_SHARE),
        "color": colour,
    }
    mark = layer("line", place, interpolate="step-after", strokeWidth=2)
    return {"data": data(values), "title": title, **mark, **_SIZE}


def _correlations(
    correlations: Sequence[Mapping[str, float | None]], moments: Sequence[float], colour: Part
) -> Part:
    values = [
        {"layer": name, "moment": f"{moment:.2f}", "correlation": value}
        for moment, found in zip(moments, correlations, strict=True)
        for name, value in found.items()
        if value is not None
    ]
    place = {
        "x": nominal("moment", title="progress", sort=None, axis={"labelAngle": 0}),
        "y": quantitative("correlation", title="Spearman correlation", scale={"domain": [-1, 1]}),
        "xOffset": nominal("layer", sort=None),
        "color": colour,
    }
    bars = layer("bar", place)
    return {"data": data(values), "title": "score and loss increase", **bars, **_SIZE}
