"""The board as JSON, CSV and Markdown."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Generic, TypeVar

from pipelines.core.record import RunRecord
from pipelines.report.rows import LISTED, RANKED, Row
from pipelines.report.stats import Estimate
from pipelines.report.text import MISSING, count, decimal, percent, points, target

SCHEMA_VERSION = 1


R = TypeVar("R")


@dataclass(frozen=True)
class Column(Generic[R]):
    """One column of the tables that people read.

    Parameters
    ----------
    title, help
        Heading, and what it means.
    text
        Cell as text.
    value
        Cell as a number to sort by, or text.
    optional
        Whether a table in which no row has a value goes without the column.
    """

    title: str
    help: str
    text: Callable[[R], str]
    value: Callable[[R], Any]
    optional: bool = False


def _plus_minus(row: Row) -> str:
    if row.accuracy is None:
        return MISSING
    half = row.accuracy.half_width
    return percent(row.accuracy.mean) + (f" ± {percent(half)}" if half is not None else "")


def _gain(title: str, over: str, whom: str, *, optional: bool = True) -> Column[Row]:
    """Column of a difference that is paired by seed."""

    def gain(row: Row) -> Estimate | None:
        value: Estimate | None = getattr(row, f"gain_over_{over}")
        return value

    def text(row: Row) -> str:
        found = gain(row)
        if found is None:
            return MISSING
        half = found.half_width
        return points(found.mean) + (f" ± {percent(half)}" if half else "")

    def value(row: Row) -> float | None:
        found = gain(row)
        return found.mean if found else None

    meaning = f"Accuracy less that of {whom}, in points, paired by seed, ± half-width."
    return Column(title, meaning, text, value, optional)


def _status(row: Row) -> str:
    return ", ".join(f"{n} {name}" for name, n in row.statuses.items())


COLUMNS: tuple[Column[Row], ...] = (
    Column("method", "Name in dpap-bench list.", lambda r: r.method, lambda r: r.method),
    Column(
        "target",
        "Density asked for; emergent: the method found its own; as X: that which X found.",
        lambda r: MISSING if r.is_reference else target(r.target),
        lambda r: r.target,
    ),
    Column(
        "density",
        "Kept / prunable weights that were reached.",
        lambda r: decimal(r.density, 3),
        lambda r: r.density,
    ),
    Column(
        "accuracy %",
        "Test accuracy of the last iterate: mean over seeds ± half-width of the 95 % t interval.",
        _plus_minus,
        lambda r: r.accuracy.mean if r.accuracy else None,
    ),
    Column(
        "drop",
        "Dense accuracy less this accuracy, in points, paired by seed.",
        lambda r: points(r.drop.mean) if r.drop else MISSING,
        lambda r: r.drop.mean if r.drop else None,
    ),
    _gain("over random", "random", "random pruning at the same density", optional=False),
    _gain(
        "over own shuffle",
        "shuffled",
        "its twin, which keeps as many units and weights per layer at each moment, at random",
    ),
    _gain("over reinit", "reinit", "the final network, trained anew from its initialisation"),
    Column(
        "parameters",
        "Parameters that exist after physical removal.",
        lambda r: count(r.parameters),
        lambda r: r.parameters,
    ),
    Column(
        "FLOPs (2 x MACs)",
        "Per sample over all time steps, dense hardware, after physical removal.",
        lambda r: count(r.flops),
        lambda r: r.flops,
    ),
    Column(
        "SynOps",
        "Spikes times existing fan-out, per sample over all time steps.",
        lambda r: count(r.synops),
        lambda r: r.synops,
    ),
    Column(
        "energy nJ",
        "Proxy: 4.6 pJ per effective MAC, 0.9 pJ per SynOp; no memory traffic.",
        lambda r: decimal(r.energy_nanojoule, 1),
        lambda r: r.energy_nanojoule,
    ),
    Column(
        "train s",
        "Wall-clock of training, evaluations left out; comparable within one machine only.",
        lambda r: decimal(r.train_seconds, 1),
        lambda r: r.train_seconds,
    ),
    Column("runs", "Runs by status; means are over those that are ok.", _status, _status),
)


@dataclass(frozen=True)
class Table:
    """Rows that may be compared: one workload, one track, one granularity, and the reference."""

    workload: str
    track: str
    granularity: str
    rows: tuple[Any, ...]
    columns: tuple[Column[Any], ...]
    note: str

    @property
    def title(self) -> str:
        """Heading."""
        return f"{self.workload}, {self.granularity}, {self.track}"


def _note(rows: Sequence[Row]) -> str:
    """Say what the number of seeds allows to say."""
    seeds = min(sum(row.statuses.values()) for row in rows)
    if seeds < LISTED:
        return f"{seeds} seeds: too few to list; {LISTED} are needed."
    if seeds < RANKED:
        return (
            f"{seeds} seeds: listed by mean accuracy, not ranked ({RANKED} are needed); "
            "neighbours whose intervals overlap are not separated."
        )
    return "Listed by mean accuracy; neighbours whose intervals overlap are not separated."


def make_tables(rows: Sequence[Row]) -> list[Table]:
    """Split rows into tables that are never mixed; each starts with the dense reference."""
    keys = dict.fromkeys(
        (row.workload, row.track, row.granularity) for row in rows if not row.is_reference
    )
    tables = []
    for workload, track, granularity in keys:
        own = tuple(
            row
            for row in rows
            if (row.workload, row.track) == (workload, track)
            and (row.is_reference or row.granularity == granularity)
        )
        columns = tuple(
            c for c in COLUMNS if not c.optional or any(c.value(row) is not None for row in own)
        )
        tables.append(Table(workload, track, granularity, own, columns, _note(own)))
    return tables


def to_json(board: str, rows: Sequence[Row], records: Sequence[RunRecord]) -> str:
    """Everything that the board shows, for programs."""
    environments = {json.dumps(r.environment.model_dump(), sort_keys=True) for r in records}
    document = {
        "schema_version": SCHEMA_VERSION,
        "board": board,
        "cells": len(records),
        "code_digests": sorted({f"{r.spec.method} {r.code_digest}" for r in records}),
        "environments": [json.loads(text) for text in sorted(environments)],
        "rows": [asdict(row) for row in rows],
        "run_ids": sorted(r.run_id for r in records),
    }
    return json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n"


def to_csv(rows: Sequence[Row]) -> str:
    """One line per row, plain numbers, shares in [0, 1]."""
    buffer = io.StringIO()
    flat = [_flat(row) for row in rows]
    writer = csv.DictWriter(buffer, fieldnames=list(flat[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return buffer.getvalue()


#: Fields of a row that are estimates; in CSV each takes two columns.
ESTIMATES = ("accuracy", "drop", "gain_over_random", "gain_over_shuffled", "gain_over_reinit")


def _flat(row: Row) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in asdict(row).items():
        if key in ESTIMATES:
            flat[key] = value["mean"] if value else None
            flat[f"{key}_half_width"] = value["half_width"] if value else None
        elif key == "statuses":
            flat[key] = _status(row)
        else:
            flat[key] = value
    return flat


def to_markdown(board: str, tables: Sequence[Table]) -> str:
    """The whole board, readable in a terminal too."""
    parts = [f"# Leaderboard: {board}\n"]
    for table in tables:
        parts.append(f"## {table.title}\n\n{table.note}\n\n{table_markdown(table)}")
    return "\n".join(parts)


def table_markdown(table: Table) -> str:
    """One table with aligned columns."""
    header = [column.title for column in table.columns]
    body = [[column.text(row) for column in table.columns] for row in table.rows]
    widths = [max(len(line[i]) for line in [header, *body]) for i in range(len(header))]
    lines = [header, ["-" * width for width in widths], *body]
    return "".join(
        "| " + " | ".join(t.ljust(w) for t, w in zip(line, widths, strict=True)) + " |\n"
        for line in lines
    )
