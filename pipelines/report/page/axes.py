"""What the page's curves are drawn from: accuracy, and all that it can be drawn over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pipelines.report.analysis.rows import Row
from pipelines.report.charts.accuracy import kind
from pipelines.report.tables.text import target
from pipelines.settings.spec import RANDOM

#: Colours of web/page.css, Okabe and Ito's; later methods differ by dashes and markers as well.
SERIES_COLOURS = 7
#: Highlighted when the page opens; the reader chooses others.
_FIRST = ("dpap", "dpap-st", RANDOM, "magnitude")


@dataclass(frozen=True)
class Axis:
    """Something that accuracy is drawn over; `key` is a field of `Row`.

    Parameters
    ----------
    name, title
        Name in the switch, and beside the axis.
    scale
        ``log`` or ``linear``.
    """

    key: str
    name: str
    title: str
    scale: Literal["log", "linear"] = "log"


AXES = (
    Axis("density", "density", "density (kept / prunable weights)"),
    Axis("synops", "SynOps", "SynOps per sample"),
    Axis("flops", "FLOPs", "FLOPs per sample (2 x MACs, dense hardware)"),
    Axis("energy_nanojoule", "energy", "energy per sample, nJ (proxy)"),
    Axis("train_seconds", "training time", "training time, s", "linear"),
)


def series_order(rows: Sequence[Row]) -> list[str]:
    """Methods in the order in which they get colours: the first four, then by name."""
    names = {row.method for row in rows if not row.is_reference}
    first = [name for name in _FIRST if name in names]
    return first + sorted(names - set(first))


def chart_data(rows: Sequence[Row]) -> dict[str, Any]:
    """Axes, methods, and one panel per workload, track and granularity.

    Returns
    -------
    dict
        ``axes``; ``series``, the methods; ``highlighted``, those that stand out at first;
        ``panels``, each with the unpruned accuracy and one point per row that has an accuracy.
        Accuracies and half-widths of intervals are in percent.
    """
    series = series_order(rows)
    dense = {(r.workload, r.track): r for r in rows if r.is_reference and r.accuracy}
    panels: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in rows:
        if row.is_reference or row.accuracy is None:
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
    return {
        "axes": [asdict(axis) for axis in AXES],
        "series": series,
        "highlighted": [s for s in series if few or s in _FIRST],
        "panels": list(panels.values()),
    }


def _percent(row: Row | None) -> float | None:
    return _short(100 * row.accuracy.mean) if row and row.accuracy else None


def _short(value: float | None) -> float | None:
    """Six digits: the page is smaller, and nobody sees more; nothing for zero, as of spikes."""
    return float(f"{value:.6g}") if value else None


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
        **{axis.key: _short(getattr(row, axis.key)) for axis in AXES},
    }
