"""The layers of one finished network: density and firing rate of each."""

from __future__ import annotations

from pipelines.records.outcome import Cost
from pipelines.report.charts.vega import Part, data, figure, layer, nominal, quantitative

_FIGURES = {"density": "density", "firing_rate": "firing rate"}
_COLUMN = nominal("figure", title=None, sort=list(_FIGURES.values()))
_LAYER = nominal("layer", sort=None, title=None)
_BAR = quantitative("value", title=None, scale={"domain": [0, 1.15]}, axis={"values": [0, 0.5, 1]})
_TEXT = {"x": quantitative("value"), "text": quantitative("value", format=".3f")}
_PANEL = {
    "layer": [
        layer("bar", {"x": _BAR, "y": _LAYER}),
        layer("text", {"y": _LAYER, **_TEXT}, align="left", dx=3),
    ],
    "width": 220,
    "height": {"step": 24},
}


def layers_figure(cost: Cost, title: str) -> Part:
    """Make the Vega-Lite specification of density and firing rate by layer, side by side.

    Parameters
    ----------
    cost
        Cost of the network.
    title
        Title of the figure.

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
    return figure(title, data=data(values), facet={"column": _COLUMN}, spec=_PANEL)
