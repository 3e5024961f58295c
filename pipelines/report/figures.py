"""Figures: accuracy over density, one per workload, as PNG, SVG and on the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

from pipelines.core.data.files import atomic_file
from pipelines.core.spec import EMERGENT
from pipelines.report.rows import GRANULARITIES, Row

#: Okabe and Ito's palette, told apart by colour-blind readers; black is for dense.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
#: With more methods than colours, lines differ by their dashes.
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [1, 3])
_SIZE = {"width": 225, "height": 210}


def figure_name(workload: str, track: str) -> str:
    """Name of a figure: the workload, and the track unless that is from-scratch."""
    return workload if track == "from-scratch" else f"{workload}-{track}"


def _points(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """One point per row that has an accuracy; the reference is drawn as a line instead."""
    points = []
    for row in rows:
        if row.is_reference or row.accuracy is None:
            continue
        half = row.accuracy.half_width or 0.0
        points.append(
            {
                "method": row.method,
                "granularity": row.granularity,
                "kind": kind(row.target),
                "density": row.density,
                "accuracy": 100 * row.accuracy.mean,
                "low": 100 * (row.accuracy.mean - half),
                "high": min(100.0, 100 * (row.accuracy.mean + half)),
                "seeds": row.accuracy.seeds,
            }
        )
    return points


def kind(target: float | str) -> str:
    """How a row's density came about."""
    if isinstance(target, float):
        return "matched"
    return "emergent" if target == EMERGENT else "at that density"


def accuracy_over_density(
    rows: Sequence[Row], workload: str, track: str = "from-scratch"
) -> dict[str, Any]:
    """Vega-Lite specification of one workload's figure in a track, a panel per granularity.

    Parameters
    ----------
    rows
        All rows of a board.
    workload, track
        Which of them to draw.

    Returns
    -------
    dict
        Vega-Lite, data included.
    """
    rows = [row for row in rows if (row.workload, row.track) == (workload, track)]
    points = _points(rows)
    dense = next((100 * r.accuracy.mean for r in rows if r.is_reference and r.accuracy), None)
    name = workload if track == "from-scratch" else f"{workload}, {track}"
    methods = list(dict.fromkeys(p["method"] for p in points))
    domain = sorted(methods)
    legend = alt.Legend(
        symbolOpacity=1, symbolType="stroke", symbolSize=400, symbolStrokeWidth=2, columns=9
    )
    colours = [PALETTE[i % len(PALETTE)] for i in range(len(domain))]
    dashes = [DASHES[i // len(PALETTE) % len(DASHES)] for i in range(len(domain))]
    colour = alt.Color("method:N", scale=alt.Scale(domain=domain, range=colours), legend=legend)
    dash = alt.StrokeDash("method:N", scale=alt.Scale(domain=domain, range=dashes), legend=legend)
    x = alt.X(
        "density:Q",
        title="density (kept / prunable weights)",
        scale=alt.Scale(type="log", nice=False, padding=12),
        axis=alt.Axis(values=[0.05, 0.1, 0.25, 0.5, 1], format="~g"),
    )
    low = min([p["low"] for p in points] + [dense if dense is not None else 100.0])
    y = alt.Y(
        "accuracy:Q",
        title="test accuracy %",
        scale=alt.Scale(domain=[max(0.0, low - 1), 100.0], clamp=True),
    )
    tooltip = [
        "method:N",
        "kind:N",
        alt.Tooltip("density:Q", format=".3f"),
        alt.Tooltip("accuracy:Q", format=".2f"),
        alt.Tooltip("low:Q", format=".2f", title="95 % low"),
        alt.Tooltip("high:Q", format=".2f", title="95 % high"),
        "seeds:Q",
    ]
    base = alt.Chart().encode(x=x, color=colour)
    matched = "datum.kind === 'matched'"
    shape = alt.Shape(
        "kind:N",
        scale=alt.Scale(
            domain=["matched", "emergent", "at that density"],
            range=["circle", "diamond", "triangle-up"],
        ),
    )
    layers = [
        base.transform_filter(matched).mark_line(strokeWidth=1.5).encode(y=y, strokeDash=dash),
        base.mark_rule(strokeWidth=1.2, opacity=0.55).encode(y=alt.Y("low:Q"), y2="high:Q"),
        base.mark_point(filled=True, size=60, opacity=1).encode(y=y, shape=shape, tooltip=tooltip),
    ]
    if dense is not None:
        layers.append(alt.Chart().mark_rule(strokeDash=[4, 3]).encode(y=alt.datum(dense)))
    chart = (
        alt.layer(*layers, data=alt.Data(values=points))
        .properties(**_SIZE)
        .facet(column=alt.Column("granularity:N", title=None, sort=list(GRANULARITIES)))
        .properties(title=f"{name} (dashed: dense; bars: 95 % t interval over seeds)")
        .configure_legend(orient="bottom")
    )
    specification: dict[str, Any] = chart.to_dict()
    return specification


def save(specification: dict[str, Any], folder: Path, name: str) -> None:
    """Write `name`.svg and `name`.png (two pixels per point) into `folder`."""
    picture = vl_convert.vegalite_to_svg(specification)
    with atomic_file(folder / f"{name}.svg") as file:
        file.write(picture.encode())
    with atomic_file(folder / f"{name}.png") as file:
        file.write(vl_convert.svg_to_png(picture, scale=2))
