"""The data of the page's charts: accuracy over each metric that has an axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pipelines.metrics.metric import Axis
from pipelines.metrics.numbers import target
from pipelines.metrics.table import METRICS
from pipelines.report.analysis.rows import MAGNITUDE, Row
from pipelines.report.charts.accuracy import kind
from pipelines.settings.spec import RANDOM

#: Number of colours in web/page.css (Okabe and Ito's); with more methods, lines also differ by
#: dashes and markers.
SERIES_COLOURS = 7
#: Highlighted when the page opens; the reader can choose others.
_FIRST = ("dpap", "dpap-st", RANDOM, MAGNITUDE)
#: Every axis that accuracy is drawn over, by the name of its metric.
AXES: dict[str, Axis] = {name: metric.axis for name, metric in METRICS.items() if metric.axis}


def series_order(rows: Sequence[Row]) -> list[str]:
    """Methods in the order of their colours: first those of `_FIRST`, then by name."""
    names = {row.method for row in rows if not row.is_reference}
    first = [name for name in _FIRST if name in names]
    return first + sorted(names - set(first))


def chart_data(rows: Sequence[Row]) -> dict[str, Any]:
    """Axes, methods, and one panel per workload, track and granularity.

    Returns
    -------
    dict
        ``axes``, the first shown first, each with the name of its metric as ``key``; ``series``,
        the methods; ``highlighted``, those that are highlighted at first; ``panels``, each with the
        unpruned accuracy and one point per row that has an accuracy. Accuracies and half-widths
        of intervals are in percent.
    """
    series = series_order(rows)
    dense = {(r.workload, r.track): r for r in rows if r.is_reference and r.accuracy}
    panels: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in rows:
        if row.is_reference or row.accuracy is None or row.synops_target is not None:
            continue
        panel = panels.setdefault(
            (row.workload, row.track, row.granularity),
            {
                "workload": row.workload,
                "track": row.track,
                "granularity": row.granularity,
                "dense": _percent(dense.get((row.workload, row.track))),
                "points": [],
            },
        )
        panel["points"].append(_point(row, series.index(row.method)))
    few = len(series) <= SERIES_COLOURS
    axes = [{"key": name} | asdict(axis) for name, axis in AXES.items()]
    if len({row.target for row in rows if not row.is_reference}) == 1:
        # All points lie at one density; the page begins with another axis, which any network has.
        axes.sort(key=lambda axis: axis["key"] != "energy_nanojoule")
    return {
        "axes": axes,
        "series": series,
        "highlighted": [s for s in series if few or s in _FIRST],
        "panels": list(panels.values()),
    }


def _percent(row: Row | None) -> float | None:
    return float(f"{100 * row.accuracy.mean:.6g}") if row and row.accuracy else None


def _place(value: float | None, axis: Axis) -> float | None:
    """Round to six digits, to keep the page small; zero has no place on a logarithmic axis."""
    if value is None or (value == 0 and axis.scale == "log"):
        return None
    return float(f"{value:.6g}")


def _point(row: Row, series: int) -> dict[str, Any]:
    """One row as a point."""
    assert row.accuracy is not None
    half = row.accuracy.half_width
    return {
        "series": series,
        "kind": kind(row.target),
        "target": target(row.target),
        "accuracy": float(f"{100 * row.accuracy.mean:.6g}"),
        "half": None if half is None else float(f"{100 * half:.4g}"),
        "seeds": row.accuracy.seeds,
        **{name: _place(row.means[name], axis) for name, axis in AXES.items()},
    }
