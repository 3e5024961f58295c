"""The table of published results beside our own rows."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.metrics.numbers import MISSING, decimal, points
from pipelines.report.analysis.literature import LiteratureRow
from pipelines.report.formats.table import Column, Table
from pipelines.report.tables.columns import plus_minus, signed


def _here(row: LiteratureRow) -> str:
    """Our row as text, or the reason why there is none."""
    ours = row.reproduced
    if ours is None:
        return row.reason
    drop = f", drop {signed(ours.drop)}" if ours.drop else ""
    return (
        f"{plus_minus(ours.accuracy)} % at density {decimal(ours.density, 3)}{drop} "
        f"({ours.method} on {ours.workload}, {ours.accuracy.seeds} seeds)"
    )


def _source(row: LiteratureRow) -> str:
    result = row.result
    arxiv = f", arXiv {result.arxiv}" if result.arxiv else ""
    return f"{result.citation}{arxiv}; {result.source}"


def _or_missing(value: object) -> str:
    return MISSING if value in (None, "") else str(value)


def _drop(row: LiteratureRow) -> float | None:
    return None if row.result.change is None else -row.result.change / 100


COLUMNS: tuple[Column[LiteratureRow], ...] = (
    Column("data set", "As printed.", lambda r: r.result.dataset, lambda r: r.result.dataset),
    Column(
        "network",
        "As printed; snn: spiking, ann: artificial.",
        lambda r: f"{_or_missing(r.result.network)} ({r.result.kind})",
        lambda r: r.result.network,
        words=True,
    ),
    Column(
        "T",
        "Time steps.",
        lambda r: _or_missing(r.result.time_steps),
        lambda r: r.result.time_steps,
    ),
    Column("method", "As printed.", lambda r: r.method, lambda r: r.method, words=True),
    Column(
        "granularity",
        "What is removed.",
        lambda r: _or_missing(r.result.granularity),
        lambda r: r.result.granularity,
        words=True,
    ),
    Column(
        "density",
        "1 - what the source calls sparsity.",
        lambda r: decimal(r.density, 3),
        lambda r: r.density,
    ),
    Column(
        "accuracy %",
        "As printed.",
        lambda r: decimal(r.result.accuracy),
        lambda r: r.result.accuracy,
    ),
    Column(
        "drop",
        "Dense accuracy minus this accuracy, in points.",
        lambda r: points(_drop(r)),
        _drop,
    ),
    Column("here", "Our row, or why there is none.", _here, _here, words=True),
    Column(
        "counting",
        "What the density counts.",
        lambda r: _or_missing(r.counting),
        lambda r: r.counting,
        words=True,
    ),
    Column("source", "Where it was read.", _source, _source, words=True),
    Column(
        "confidence",
        "high: the primary source was read.",
        lambda r: r.result.confidence,
        lambda r: r.result.confidence,
        words=True,
    ),
)


def literature_table(board: str, rows: Sequence[LiteratureRow]) -> Table:
    """Make a table of every published result beside the row of the board, if it has one."""
    there = sum(row.reproduced is not None for row in rows)
    note = f"{len(rows)} results as their sources print them; {there} have a row here."
    return Table(board, "as published", "literature", tuple(rows), COLUMNS, note)
