"""The layers of one finished network: what is left of each, and how often it fires."""

from __future__ import annotations

from typing import Any

import altair as alt

from pipelines.core.cost import Cost


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
    names = {"density": "density", "firing_rate": "firing rate"}
    values = [
        {"layer": name, "figure": shown, "value": getattr(layer, field)}
        for name, layer in cost.layers.items()
        for field, shown in names.items()
        if getattr(layer, field) is not None
    ]
    y = alt.Y("layer:N", sort=None, title=None)
    base = alt.Chart().encode(y=y)
    bars = base.mark_bar().encode(
        x=alt.X(
            "value:Q",
            title=None,
            scale=alt.Scale(domain=[0, 1.15]),
            axis=alt.Axis(values=[0, 0.5, 1]),
        )
    )
    text = base.mark_text(align="left", dx=3).encode(
        x="value:Q", text=alt.Text("value:Q", format=".3f")
    )
    chart = (
        alt.layer(bars, text, data=alt.Data(values=values))
        .properties(width=220, height=alt.Step(24))
        .facet(column=alt.Column("figure:N", title=None, sort=list(names.values())))
        .properties(title=title)
    )
    specification: dict[str, Any] = chart.to_dict()
    return specification
