"""Tables as Markdown, readable in a terminal too."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.report.analysis.critical_difference import CriticalDifference
from pipelines.report.tables.table import Table


def to_markdown(
    board: str, tables: Sequence[Table], critical: Sequence[CriticalDifference] = ()
) -> str:
    """Write the whole board: its tables, then the average ranks."""
    parts = [f"# Leaderboard: {board}\n"]
    for table in tables:
        parts.append(f"## {table.title}\n\n{table.note}\n\n{table_markdown(table)}")
    if critical:
        parts.append("## Average ranks\n")
        parts += [f"{average_ranks(one)}\n" for one in critical]
    return "\n".join(parts)


def table_markdown(table: Table) -> str:
    """Write one table with aligned columns."""
    header = [column.title for column in table.columns]
    body = [[column.text(row) for column in table.columns] for row in table.rows]
    widths = [max(len(line[i]) for line in [header, *body]) for i in range(len(header))]
    lines = [header, ["-" * width for width in widths], *body]
    return "".join(
        "| " + " | ".join(t.ljust(w) for t, w in zip(line, widths, strict=True)) + " |\n"
        for line in lines
    )


def average_ranks(one: CriticalDifference) -> str:
    """Write the content of a critical-difference diagram as text."""
    ranks = ", ".join(f"{m} {r:.2f}" for m, r in zip(one.methods, one.ranks, strict=True))
    alike = "; ".join(", ".join(group) for group in one.alike) or "none"
    missing = f" Not run everywhere: {', '.join(one.left_out)}." if one.left_out else ""
    return (
        f"**{one.granularity}, {one.track}.** Average ranks over {one.blocks} blocks of workload, "
        f"density and seed: {ranks}. Friedman's chi-square {one.statistic:.2f}, p = {one.p:.2g}; "
        f"critical difference {one.critical_difference:.2f} (Nemenyi). Not separated: {alike}."
        f"{missing}"
    )
