"""Tables that people read: their columns, their rows, and what the seeds allow to say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.report.analysis.comparisons import Detectable
from pipelines.report.analysis.rows import LISTED, RANKED, Row
from pipelines.report.analysis.standings import Standing, tables_of
from pipelines.report.analysis.stats import ALPHA, POWER
from pipelines.report.tables.columns import METHOD, TARGET, Column, estimated, gain
from pipelines.report.tables.text import MISSING, count, decimal, percent, points


def status(row: Row) -> str:
    """Runs of a row by status."""
    return ", ".join(f"{n} {name}" for name, n in row.statuses.items())


COLUMNS: tuple[Column[Row], ...] = (
    METHOD,
    Column(
        "rank",
        "1 + the rows at the same density that a corrected test separates from this and that are "
        "better; rows that nothing separates share a rank.",
        lambda r: MISSING if r.rank is None else str(r.rank),
        lambda r: r.rank,
        optional=True,
    ),
    TARGET,
    Column(
        "density",
        "Kept / prunable weights that were reached.",
        lambda r: decimal(r.density, 3),
        lambda r: r.density,
    ),
    estimated(
        "accuracy %",
        "Test accuracy of the last iterate: mean over seeds ± half-width of the 95 % t interval.",
        lambda r: r.accuracy,
    ),
    Column(
        "drop",
        "Dense accuracy less this accuracy, in points, paired by seed.",
        lambda r: points(r.drop.mean) if r.drop else MISSING,
        lambda r: r.drop.mean if r.drop else None,
    ),
    gain("over random", "random", "random pruning at the same density", optional=False),
    gain("over magnitude", "magnitude", "magnitude pruning at the same density"),
    gain(
        "over own shuffle",
        "shuffled",
        "its twin, which keeps as many units and weights per layer at each moment, at random",
    ),
    gain("over reinit", "reinit", "the final network, trained anew from its initialisation"),
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
    Column("runs", "Runs by status; means are over those that are ok.", status, status),
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


def _note(rows: Sequence[Row], found: Detectable | None) -> str:
    """Say what the number of seeds allows to say."""
    seeds = min(sum(row.statuses.values()) for row in rows)
    if seeds < LISTED:
        return f"{seeds} seeds: too few to list; {LISTED} are needed."
    if seeds < RANKED:
        note = (
            f"{seeds} seeds: listed by mean accuracy, not ranked ({RANKED} are needed); "
            "neighbours whose intervals overlap are not separated."
        )
    else:
        note = (
            "Listed by mean accuracy; rows share a rank unless a paired t test separates them, "
            "corrected for all comparisons of the table (Holm)."
        )
    return note + _detectable(found)


def _detectable(found: Detectable | None) -> str:
    if found is None:
        return ""
    corrected = (
        f", {percent(found.corrected)} as the strictest of {found.tests} comparisons"
        if found.corrected is not None
        else ""
    )
    return (
        f" Smallest detectable difference of two rows (power {POWER:g}, alpha {ALPHA:g}, paired, "
        f"{found.seeds} seeds): {percent(found.alone)} points{corrected}."
    )


def make_tables(rows: Sequence[Row], standings: Sequence[Standing] = ()) -> list[Table]:
    """Split rows into tables that are never mixed; each starts with the dense reference."""
    found = {(s.workload, s.track, s.granularity): s.detectable for s in standings}
    tables = []
    for dense, own in tables_of(rows):
        key = (own[0].workload, own[0].track, own[0].granularity)
        lines = (*([dense] if dense else []), *own)
        columns = tuple(
            c for c in COLUMNS if not c.optional or any(c.value(row) is not None for row in lines)
        )
        tables.append(Table(*key, lines, columns, _note(lines, found.get(key))))
    return tables
