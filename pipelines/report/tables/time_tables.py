"""How fast the rows of each table train, get near the dense network, and run."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.report.analysis.rows import Row
from pipelines.report.analysis.standings import tables_of
from pipelines.report.analysis.time_to_target import TARGET_SHARE
from pipelines.report.tables.columns import METHOD, TARGET, Column
from pipelines.report.tables.density_tables import Table
from pipelines.report.tables.text import MISSING, decimal

COLUMNS: tuple[Column[Row], ...] = (
    METHOD,
    TARGET,
    Column(
        "samples/s",
        "Training samples charged per second of training.",
        lambda r: decimal(r.samples_per_second, 0),
        lambda r: r.samples_per_second,
    ),
    Column(
        f"seconds to {100 * TARGET_SHARE:g} %",
        "Training time until the validation accuracy first reaches so much of what the dense "
        "network has at its end, mean over seeds; in brackets the runs that reach it, where not "
        "all do.",
        lambda r: _until(r, "seconds", 2),
        lambda r: _mean_until(r, "seconds"),
    ),
    Column(
        f"samples to {100 * TARGET_SHARE:g} %",
        "The same in training samples charged.",
        lambda r: _until(r, "samples", 0),
        lambda r: _mean_until(r, "samples"),
    ),
    Column(
        "ms, batch 1 (masked)",
        "Forward time after physical removal; in brackets with masks alone.",
        lambda r: _both(r.latency_milliseconds, r.masked_latency_milliseconds),
        lambda r: r.latency_milliseconds,
    ),
    Column(
        "ms, batch 128 (masked)",
        "The same for 128 samples at once.",
        lambda r: _both(r.latency_milliseconds_batch_128, r.masked_latency_milliseconds_batch_128),
        lambda r: r.latency_milliseconds_batch_128,
    ),
)


def _mean_until(row: Row, unit: str) -> float | None:
    found = getattr(row.time_to_target, unit, None)
    return found.mean if found else None


def _until(row: Row, unit: str, digits: int) -> str:
    time = row.time_to_target
    if time is not None and time.reached < time.runs:
        return f"{MISSING} ({time.reached} of {time.runs})"
    return decimal(_mean_until(row, unit), digits)


def _both(compacted: float | None, masked: float | None) -> str:
    return MISSING if compacted is None else f"{decimal(compacted)} ({decimal(masked)})"


def time_tables(rows: Sequence[Row]) -> list[Table]:
    """How fast the rows of each table train and run."""
    return [
        Table(
            own[0].workload,
            own[0].track,
            f"{own[0].granularity}, time",
            (*([dense] if dense else []), *own),
            COLUMNS,
            "Means over the runs that are ok; only where all of a row come from one machine.",
        )
        for dense, own in tables_of(rows)
    ]
