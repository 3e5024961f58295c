"""The confusion matrix of one finished network."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import altair as alt


def confusion_figure(rows: Sequence[Sequence[int]], title: str) -> dict[str, Any]:
    """Vega-Lite specification of a confusion matrix, shaded by the share of each true class.

    Parameters
    ----------
    rows
        Samples by true class (row) and answer (column).
    title
        Of the figure.
    """
    values = [
        {"true": true, "answer": answer, "samples": samples, "share": samples / max(1, sum(row))}
        for true, row in enumerate(rows)
        for answer, samples in enumerate(row)
    ]
    return _chart() | {"data": {"values": values}, "title": title}


@cache
def _chart() -> dict[str, Any]:
    """The figure without data: Altair takes as long to check it as Vega takes to draw it."""
    shade = alt.Scale(domain=[0, 1], scheme="blues")
    base = alt.Chart(alt.Data(values=[])).encode(
        x=alt.X("answer:O", title="answer", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("true:O", title="true class"),
    )
    cells = base.mark_rect().encode(color=alt.Color("share:Q", scale=shade, legend=None))
    dark = alt.condition("datum.share > 0.5", alt.value("white"), alt.value("black"))
    text = (
        base.transform_filter("datum.samples > 0").mark_text().encode(text="samples:Q", color=dark)
    )
    size = alt.Step(26)
    chart = alt.layer(cells, text).properties(width=size, height=size)
    specification: dict[str, Any] = chart.to_dict()
    return specification
