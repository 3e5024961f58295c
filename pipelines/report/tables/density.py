"""Tables by density: every row of one workload, track and granularity."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.boards.coverage import Coverage
from pipelines.metrics.numbers import decimal, percent, target
from pipelines.metrics.table import ACCURACY, METRICS
from pipelines.report.analysis.comparisons import Detectable
from pipelines.report.analysis.rows import LISTED, RANKED, Row
from pipelines.report.analysis.standings import Standing, tables_of
from pipelines.report.formats.table import Column, Table
from pipelines.report.statistics.stats import ALPHA
from pipelines.report.tables.columns import (
    METHOD,
    RANK,
    SAME_ALLOCATION,
    TARGET,
    compared,
    estimated,
    gain,
    metric_column,
    of_layers,
)


def status(row: Row) -> str:
    """Print how many runs of a row have which status, and how many have no record."""
    counts = [f"{n} {name}" for name, n in row.statuses.items()]
    if row.missing:
        counts.append(f"{row.missing} missing")
    if row.missing_controls:
        noun = "control" if row.missing_controls == 1 else "controls"
        counts.append(f"{row.missing_controls} {noun} missing")
    return ", ".join(counts)


_DENSITY = METRICS["density"]
RUNS: Column[Row] = Column(
    "runs",
    "Runs by status, and runs without a record; means are over those that are ok.",
    status,
    status,
)

COLUMNS: tuple[Column[Row], ...] = (
    METHOD,
    RANK,
    TARGET,
    metric_column(_DENSITY),
    estimated(ACCURACY.title, ACCURACY.help, lambda row: row.accuracy),
    compared(
        "drop",
        "Dense accuracy minus this accuracy, in points, paired by seed, ± half-width.",
        lambda row: row.drop,
    ),
    gain("over random", "random", "random pruning at the same density", optional=False),
    gain("over magnitude", "magnitude", "magnitude pruning at the same density"),
    gain(
        SAME_ALLOCATION,
        "shuffled",
        "its shuffled control, which keeps as many units and weights in each layer at each moment "
        "(the same allocation), but chosen at random: the effect of which ones, without that of "
        "how many",
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
    of_layers(
        "layer densities %",
        "Final density of each layer, from the input to the output: mean over seeds. Which share "
        "each layer keeps is the allocation.",
        lambda row: row.layer_densities,
        lambda share: percent(share, 0 if share >= 0.1 else 1),
    ),
    of_layers(
        "widths",
        "Channels or neurons of each layer after physical removal, from the input to the output: "
        "mean over seeds.",
        lambda row: row.widths,
        lambda units: decimal(units, 0),
    ),
    RUNS,
)


def _note(rows: Sequence[Row], found: Sequence[Detectable]) -> str:
    """Say what may be concluded from these numbers of seeds."""
    numbers = [sum(row.statuses.values()) for row in rows]
    seeds, most = min(numbers), max(numbers)
    if seeds < RANKED and seeds < most:
        note = (
            f"{seeds} to {most} seeds: a row needs {LISTED} to be listed and {RANKED} to be ranked."
        )
    elif seeds < LISTED:
        return f"{seeds} seeds: too few to list; {LISTED} are needed."
    elif seeds < RANKED:
        note = f"{seeds} seeds: not ranked ({RANKED} are needed), so no row is better than another."
    else:
        note = (
            "Listed by mean accuracy; rows share a rank unless a paired test separates them, "
            "corrected for all comparisons of the table (Holm)."
        )
    return f"{_detectable(found)} {note}{_without_items(rows)}".strip()


def _not_computed(rows: Sequence[Row]) -> str:
    """Name the rows of which no cell has a record, by target."""
    by_target: dict[str, list[str]] = {}
    for row in rows:
        aim = "unpruned" if row.is_reference else TARGET.text(row)
        by_target.setdefault(aim, []).append(row.method)
    named = "; ".join(f"{aim} ({', '.join(names)})" for aim, names in by_target.items())
    return f" Not computed yet, by target: {named}." if named else ""


def _detectable(found: Sequence[Detectable]) -> str:
    """Say by how much two rows must differ, for each number of seeds."""
    if not found:
        return ""
    several = len(found) > 1
    return (
        "Smallest detectable difference: "
        f"{'; '.join(_of_seeds(one, named=several) for one in found)}."
    )


def _of_seeds(one: Detectable, *, named: bool) -> str:
    """Say it for some densities, which are named if there are others."""
    errors = f"standard error {percent(one.seed_error)} by {one.seeds} seeds"
    if one.item_error is not None:
        errors += f" and {percent(one.item_error)} by test samples"
    noun = "density" if len(one.densities) == 1 else "densities"
    where = f" at {noun} {', '.join(map(target, one.densities))}" if named else ""
    level = f"level {ALPHA:g} / {one.tests} comparisons"
    return f"{percent(one.corrected)} points{where} ({errors}, {level})"


def _without_items(rows: Sequence[Row]) -> str:
    """Say it if the choice of the test samples is in no interval."""
    several = [row for row in rows if len(row.accuracies) > 1]
    old = [row for row in several if row.correct is None]
    if not old:
        return ""
    which = "Intervals" if len(old) == len(several) else f"The intervals of {len(old)} rows"
    return (
        f" {which} are those of the seeds alone, because the records do not say which test samples "
        "were right."
    )


def _counted_first(columns: tuple[Column[Row], ...]) -> tuple[Column[Row], ...]:
    """Move the numbers of runs before the results, where a reader of a partial board sees them."""
    results = columns.index(TARGET) + 1
    others = tuple(column for column in columns[results:] if column is not RUNS)
    return (*columns[:results], RUNS, *others)


def make_tables(
    rows: Sequence[Row], standings: Sequence[Standing] = (), covered: Coverage | None = None
) -> list[Table]:
    """Split rows into tables by workload, track and granularity; the dense network comes first.

    A row without any record is named in the note of its table. A table of such rows is left out.

    Parameters
    ----------
    rows, standings
        Of a board.
    covered
        Which cells of the board have a record; None: all.
    """
    found = {(s.workload, s.track, s.granularity): s.detectable for s in standings}
    tables = []
    for dense, own in tables_of(rows):
        key = (own[0].workload, own[0].track, own[0].granularity)
        every = (*([dense] if dense else []), *own)
        lines = tuple(row for row in every if row.statuses)
        if not lines:
            continue
        columns = tuple(
            c for c in COLUMNS if not c.optional or any(c.value(row) is not None for row in lines)
        )
        missing = covered.of_table(*key) if covered else ""
        if any(row.missing or row.missing_controls for row in lines):
            columns = _counted_first(columns)
        absent = [row for row in every if not row.statuses]
        note = _note(lines, found.get(key, ())) + _not_computed(absent)
        tables.append(Table(*key, lines, columns, note, missing))
    return tables
