"""The layers of one finished network: what is left of each, and how often it fires."""

from __future__ import annotations

from functools import cache
from typing import Any

import altair as alt

from pipelines.core.outcome import Cost

_FIGURES = {"density": "density", "firing_rate": "firing rate"}


def layers_figure(cost: Cost, title: str) -> dict[str, Any]:
    """Vega-Lite specification of density and firing rate by layer, side by side.

    Parameters
    ----------
    cost
        Of the network.
    title
        Of the figure.

    Returns
    -------
    dict
        Vega-Lite, data included. A layer without neurons has no firing rate.
    """
    values = [
        {"layer": name, "figure": figure, "value": getattr(layer, field)}
        for name, layer in cost.layers.items()
        for field, figure in _FIGURES.items()
        if getattr(layer, field) is not None
    ]
    return _chart() | {"data": {"values": values}, "title": title}


@cache
def _chart() -> dict[str, Any]:
    """The figure without data: Altair takes as long to check it as Vega takes to draw it."""
    base = alt.Chart().encode(y=alt.Y("layer:N", sort=None, title=None))
    axis, scale = alt.Axis(values=[0, 0.5, 1]), alt.Scale(domain=[0, 1.15])
    bars = base.mark_bar().encode(x=alt.X("value:Q", title=None, scale=scale, axis=axis))
    text = base.mark_text(align="left", dx=3).encode(
        x="value:Q", text=alt.Text("value:Q", format=".3f")
    )
    chart = (
        alt.layer(bars, text, data=alt.Data(values=[]))
        .properties(width=220, height=alt.Step(24))
        .facet(column=alt.Column("figure:N", title=None, sort=list(_FIGURES.values())))
    )
    specification: dict[str, Any] = chart.to_dict()
    return specification
