"""The summary of a board: one line per method, one column per density."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from pipelines.metrics.numbers import MISSING
from pipelines.report.analysis.rows import RANKED, Row
from pipelines.report.tables.columns import SAME_ALLOCATION, plus_minus, signed


def summary_markdown(rows: Sequence[Row]) -> str:
    """Write tables of accuracy ± half-width, with the gain over random pruning in brackets.

    Rows without a target density are left out. Methods are sorted by their rank at the smallest
    density, and by name where they share it; with fewer than five seeds by name alone, and without
    gains. The last column is the gain over the shuffled control (the same allocation) at the
    smallest density, if the board has such controls.
    """
    tables: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    dense = {(r.workload, r.track): r for r in rows if r.is_reference}
    for row in rows:
        if isinstance(row.target, float) and not row.is_reference:
            tables[row.workload, row.track, row.granularity].append(row)
    parts = []
    for (workload, track, granularity), own in tables.items():
        reference = dense.get((workload, track))
        unpruned = f" Unpruned: {plus_minus(reference.accuracy)} %." if reference else ""
        parts.append(f"**{workload}, {granularity}, {track}.**{unpruned}\n\n{_table(own)}")
    return "\n".join(parts)


def _table(rows: Sequence[Row]) -> str:
    densities = sorted({row.target for row in rows if isinstance(row.target, float)}, reverse=True)
    methods: dict[str, dict[float, Row]] = defaultdict(dict)
    for row in rows:
        assert isinstance(row.target, float)
        methods[row.method][row.target] = row
    last = densities[-1]
    ranks = {name: found[last].rank for name, found in methods.items() if last in found}
    ranked = any(rank is not None for rank in ranks.values())
    order = sorted(methods, key=lambda name: (ranks.get(name) or len(rows) + 1, name))
    header = ["method", *([f"rank at {last:g}"] if ranked else [])]
    shuffled = any(row.gain_over_shuffled for row in rows)
    header += [f"density {d:g}" for d in densities]
    header += [f"{SAME_ALLOCATION} at {last:g}"] if shuffled else []
    lines = [header, ["---", *["---:"] * (len(header) - 1)]]
    for name in order:
        found = methods[name]
        rank = [str(ranks.get(name) or MISSING)] if ranked else []
        cells = [_cell(found.get(density)) for density in densities]
        gain = found[last].gain_over_shuffled if last in found else None
        lines.append([name, *rank, *cells, *([signed(gain)] if shuffled else [])])
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _cell(row: Row | None) -> str:
    if row is None:
        return MISSING
    gain = row.gain_over_random
    behind = f" ({signed(gain)})" if gain is not None and gain.seeds >= RANKED else ""
    return plus_minus(row.accuracy) + behind
