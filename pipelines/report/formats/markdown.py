"""Tables as Markdown, readable in a terminal too."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pipelines.boards.coverage import Coverage
from pipelines.common.alignment import align
from pipelines.report.analysis.critical_difference import CriticalDifference
from pipelines.report.formats.table import Table

#: What a partial board must not be used for.
PARTIAL = "Means and ranks may change when the missing runs are computed; do not cite them."


def escape(text: str) -> str:
    """Escape the text of a cell: it ends no cell and no line, and is no HTML."""
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", " ".join(text.split("\n"))).replace("|", r"\|")


def to_markdown(
    board: str,
    tables: Sequence[Table],
    critical: Sequence[CriticalDifference] = (),
    covered: Coverage | None = None,
) -> str:
    """Write the whole board: what is missing, its tables, then the average ranks."""
    parts = [f"# Leaderboard: {board}\n"]
    if covered and covered.missing:
        parts.append(partial_markdown(covered))
    for table in tables:
        missing = f"**{table.missing}.** " if table.missing else ""
        parts.append(f"## {table.title}\n\n{missing}{table.note}\n\n{table_markdown(table)}")
    if critical:
        parts.append("## Average ranks\n")
        parts += [f"{average_ranks(one)}\n" for one in critical]
    return "\n".join(parts)


def partial_markdown(covered: Coverage) -> str:
    """Say how many cells of a board are missing, in total and by table."""
    lines = [
        f"- {table.workload}, {table.granularity}, {table.track}: {table.sentence}\n"
        for table in covered.tables
        if table.missing
    ]
    return f"**Partial board: {covered.sentence}.** {PARTIAL}\n\n{''.join(lines)}"


def table_markdown(table: Table) -> str:
    """Write one table with aligned columns."""
    header = [column.title for column in table.columns]
    body = [[escape(column.text(row)) for column in table.columns] for row in table.rows]
    header, *body = align([header, *body])
    lines = [header, ["-" * len(cell) for cell in header], *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def average_ranks(one: CriticalDifference) -> str:
    """Write the content of a critical-difference diagram as text."""
    ranks = ", ".join(f"{m} {r:.2f}" for m, r in zip(one.methods, one.ranks, strict=True))
    alike = "; ".join(", ".join(group) for group in one.alike) or "none"
    missing = f" Not run everywhere: {', '.join(one.left_out)}." if one.left_out else ""
    return (
        f"**{one.granularity}, {one.track}.** Average ranks over {one.blocks} workloads: {ranks}. "
        f"Friedman's chi-square {one.statistic:.2f}, p = {one.p:.2g}; "
        f"critical difference {one.critical_difference:.2f} (Nemenyi). Not separated: {alike}."
        f"{missing}"
    )
