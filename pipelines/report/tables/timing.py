"""Tables of time: how fast the rows of each table train, reach the target accuracy, and run."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.metrics.numbers import MISSING, decimal
from pipelines.metrics.table import METRICS
from pipelines.report.analysis.rows import Row
from pipelines.report.analysis.standings import tables_of
from pipelines.report.analysis.time_to_target import TARGET_SHARE
from pipelines.report.formats.table import Column, Table
from pipelines.report.tables.columns import METHOD, TARGET, metric_column


def _latency(name: str) -> Column[Row]:
    """Column of a latency after physical removal; in brackets that of the masked network."""
    compact, masked = METRICS[name], METRICS[f"masked_{name}"]

    def text(row: Row) -> str:
        mean = row.means[compact.name]
        behind = f" ({masked.format(row.means[masked.name])})" if mean is not None else ""
        return compact.format(mean) + behind

    return Column(
        f"{compact.title} (masked)",
        f"{compact.help} In brackets: with masks alone.",
        text,
        lambda row: row.means[compact.name],
    )


COLUMNS: tuple[Column[Row], ...] = (
    METHOD,
    TARGET,
    metric_column(METRICS["samples_per_second"]),
    Column(
        f"seconds to {100 * TARGET_SHARE:g} %",
        f"Training time until the validation accuracy first reaches {100 * TARGET_SHARE:g} % of "
        "the dense network's final validation accuracy: mean over seeds. If some runs do not reach "
        "it: how many do, in brackets.",
        lambda row: _until(row, "seconds", 2),
        lambda row: _mean_until(row, "seconds"),
    ),
    Column(
        f"samples to {100 * TARGET_SHARE:g} %",
        "The same in training samples charged.",
        lambda row: _until(row, "samples", 0),
        lambda row: _mean_until(row, "samples"),
    ),
    _latency("latency_milliseconds"),
    _latency("latency_milliseconds_batch_128"),
)


def _mean_until(row: Row, unit: str) -> float | None:
    found = getattr(row.time_to_target, unit, None)
    return found.mean if found else None


def _until(row: Row, unit: str, digits: int) -> str:
    time = row.time_to_target
    if time is not None and time.reached < time.runs:
        return f"{MISSING} ({time.reached} of {time.runs})"
    return decimal(_mean_until(row, unit), digits)


def time_tables(rows: Sequence[Row]) -> list[Table]:
    """Make one table of time for each table of rows by density."""
    return [
        Table(
            own[0].workload,
            own[0].track,
            f"{own[0].granularity}, time",
            (*([dense] if dense else []), *own),
            COLUMNS,
            "Means over the runs that are ok. Times are shown only if all runs of a row come from "
            "one machine.",
        )
        for dense, own in tables_of(rows)
    ]
