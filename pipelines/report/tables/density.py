"""Tables by density: every row of one workload, track and granularity."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.metrics.numbers import MISSING, percent, points
from pipelines.metrics.table import ACCURACY, METRICS
from pipelines.report.analysis.comparisons import Detectable
from pipelines.report.analysis.rows import LISTED, RANKED, Row
from pipelines.report.analysis.standings import Standing, tables_of
from pipelines.report.analysis.stats import ALPHA, POWER
from pipelines.report.tables.columns import METHOD, TARGET, estimated, gain, metric_column
from pipelines.report.tables.table import Column, Table


def status(row: Row) -> str:
    """Print how many runs of a row have which status."""
    return ", ".join(f"{n} {name}" for name, n in row.statuses.items())


_DENSITY = METRICS["density"]

COLUMNS: tuple[Column[Row], ...] = (
    METHOD,
    Column(
        "rank",
        "1 + the number of better rows at the same density that a corrected test separates from "
        "this row. Rows that are not separated share a rank.",
        lambda row: MISSING if row.rank is None else str(row.rank),
        lambda row: row.rank,
        optional=True,
    ),
    TARGET,
    metric_column(_DENSITY),
    estimated(ACCURACY.title, ACCURACY.help, lambda row: row.accuracy),
    Column(
        "drop",
        "Dense accuracy minus this accuracy, in points, paired by seed.",
        lambda row: points(row.drop.mean) if row.drop else MISSING,
        lambda row: row.drop.mean if row.drop else None,
    ),
    gain("over random", "random", "random pruning at the same density", optional=False),
    gain("over magnitude", "magnitude", "magnitude pruning at the same density"),
    gain(
        "over own shuffle",
        "shuffled",
        "its shuffled control, which keeps as many units and weights per layer at each moment, "
        "chosen at random",
    ),
    gain(
        "over reinit",
        "reinit",
        "its reinit control, which trains the final network anew from its initial weights",
    ),
    *(
        metric_column(metric)
        for metric in METRICS.values()
        if metric.column and metric not in (_DENSITY, ACCURACY)
    ),
    Column("runs", "Runs by status; means are over those that are ok.", status, status),
)


def _note(rows: Sequence[Row], found: Detectable | None) -> str:
    """Say what may be concluded from this number of seeds."""
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
    """Split rows into tables by workload, track and granularity; the dense network comes first."""
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
