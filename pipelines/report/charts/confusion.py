"""The confusion matrix of one finished network."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.report.charts.vega import Part, data, figure, layer, quantitative

_PLACE = {
    "x": {"field": "answer", "type": "ordinal", "title": "answer", "axis": {"labelAngle": 0}},
    "y": {"field": "true", "type": "ordinal", "title": "true class"},
}
_SHADE = quantitative("share", scale={"domain": [0, 1], "scheme": "blues"}, legend=None)
_INK = {"condition": {"test": "datum.share > 0.5", "value": "white"}, "value": "black"}
_NUMBER = {"text": quantitative("samples"), "color": _INK}
_MATRIX = {
    "layer": [
        layer("rect", _PLACE | {"color": _SHADE}),
        layer("text", _PLACE | _NUMBER, only="datum.samples > 0"),
    ],
    "width": {"step": 26},
    "height": {"step": 26},
}


def confusion_figure(rows: Sequence[Sequence[int]], title: str) -> Part:
    """Make the Vega-Lite specification of a confusion matrix, shaded by the share of a true class.

    Parameters
    ----------
    rows
        Samples by true class (row) and answer (column).
    title
        Title of the figure.
    """
    values = [
        {"true": true, "answer": answer, "samples": samples, "share": samples / max(1, sum(row))}
        for true, row in enumerate(rows)
        for answer, samples in enumerate(row)
    ]
    return figure(title, data=data(values), **_MATRIX)
