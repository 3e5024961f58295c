"""The summary of a board: one line per method, one column per density."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean

from pipelines.metrics.numbers import MISSING, percent, points
from pipelines.report.analysis.rows import Row
from pipelines.report.tables.columns import SAME_ALLOCATION


def summary_markdown(rows: Sequence[Row]) -> str:
    """Write tables of accuracy with the gain over random pruning in brackets, best methods first.

    Rows without a target density are left out. The last column is the gain over the shuffled
    control (the same allocation), mean over the densities.
    """
    tables: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    dense = {(r.workload, r.track): r for r in rows if r.is_reference}
    for row in rows:
        if isinstance(row.target, float) and not row.is_reference:
            tables[row.workload, row.track, row.granularity].append(row)
    parts = []
    for (workload, track, granularity), own in tables.items():
        reference = dense.get((workload, track))
        unpruned = f" Unpruned: {_accuracy(reference)} %." if reference else ""
        parts.append(f"**{workload}, {granularity}, {track}.**{unpruned}\n\n{_table(own)}")
    return "\n".join(parts)


def _table(rows: Sequence[Row]) -> str:
    densities = sorted({row.target for row in rows if isinstance(row.target, float)}, reverse=True)
    methods: dict[str, dict[float, Row]] = defaultdict(dict)
    for row in rows:
        assert isinstance(row.target, float)
        methods[row.method][row.target] = row
    order = sorted(methods, key=lambda name: (-_mean_accuracy(methods[name].values()), name))
    header = ["method", *(f"density {d:g}" for d in densities), SAME_ALLOCATION]
    lines = [header, ["---", *["---:"] * (len(header) - 1)]]
    for name in order:
        cells = [_cell(methods[name].get(density)) for density in densities]
        lines.append([name, *cells, _over_shuffle(methods[name].values())])
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _accuracy(row: Row | None) -> str:
    return percent(row.accuracy.mean) if row and row.accuracy else MISSING


def _mean_accuracy(rows: Iterable[Row]) -> float:
    found = [r.accuracy.mean for r in rows if r.accuracy]
    return fmean(found) if found else 0.0


def _cell(row: Row | None) -> str:
    gain = row.gain_over_random if row else None
    return _accuracy(row) + (f" ({points(gain.mean)})" if gain else "")


def _over_shuffle(rows: Iterable[Row]) -> str:
    found = [r.gain_over_shuffled.mean for r in rows if r.gain_over_shuffled]
    return points(fmean(found)) if found else MISSING
