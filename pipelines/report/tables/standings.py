"""Tables that compare methods otherwise than by density: at equal SynOps, and by area."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipelines.metrics.numbers import percent
from pipelines.metrics.table import ACCURACY, METRICS
from pipelines.report.analysis.areas import Area
from pipelines.report.analysis.rows import Row
from pipelines.report.analysis.standings import Standing, synops_tables_of
from pipelines.report.analysis.synops_curves import SynopsRow
from pipelines.report.formats.table import Column, Table
from pipelines.report.tables.columns import (
    METHOD,
    RANK,
    SAME_ALLOCATION,
    compared,
    estimated,
    gain,
    metric_column,
)
from pipelines.report.tables.density import RUNS
from pipelines.settings.tolerance import SYNOPS_TOLERANCE

_SYNOPS, _DENSITY = METRICS["synops"], METRICS["density"]

SYNOPS_COLUMNS: tuple[Column[SynopsRow], ...] = (
    METHOD,
    Column(
        f"{_SYNOPS.title} % of dense",
        "SynOps at which the methods are compared, as a share of the dense network's.",
        lambda row: percent(row.share, 0),
        lambda row: row.share,
    ),
    Column(
        _SYNOPS.title,
        "The same as a number, per sample.",
        lambda row: _SYNOPS.format(row.synops),
        lambda row: row.synops,
    ),
    Column(
        _DENSITY.title,
        "Density at which the method has these SynOps, interpolated.",
        lambda row: _DENSITY.format(row.density),
        lambda row: row.density,
    ),
    estimated(
        ACCURACY.title,
        "Interpolated between two densities of the method, seed by seed: mean ± half-width.",
        lambda row: row.accuracy,
    ),
    compared("drop", "Dense accuracy minus this accuracy, in points.", lambda row: row.drop),
    gain("over random", "random", "random pruning at the same SynOps", optional=False),
    gain("over magnitude", "magnitude", "magnitude pruning at the same SynOps", optional=False),
)

TARGET_COLUMNS: tuple[Column[Row], ...] = (
    METHOD,
    RANK,
    Column(
        "target SynOps",
        "SynOps per sample that the run aims at, on validation samples.",
        lambda row: _SYNOPS.format(row.synops_target),
        lambda row: row.synops_target,
    ),
    metric_column(_SYNOPS),
    metric_column(_DENSITY),
    estimated(ACCURACY.title, ACCURACY.help, lambda row: row.accuracy),
    compared("drop", "Dense accuracy minus this accuracy, in points.", lambda row: row.drop),
    gain("over random", "random", "random pruning at the same target", optional=False),
    gain("over magnitude", "magnitude", "magnitude pruning at the same target", optional=False),
    gain(SAME_ALLOCATION, "shuffled", "its shuffled control, which keeps the same allocation"),
    RUNS,
)

AREA_COLUMNS: tuple[Column[Area], ...] = (
    METHOD,
    estimated(
        "area over density %",
        "Mean accuracy over log density, by trapezoids: mean over seeds ± half-width.",
        lambda row: row.over_density,
    ),
    estimated(
        "area over SynOps %",
        "Mean accuracy over log SynOps, by trapezoids: mean over seeds ± half-width.",
        lambda row: row.over_synops,
        optional=True,
    ),
)


def synops_tables(standings: Sequence[Standing]) -> list[Table]:
    """Make tables of methods at equal SynOps, best first; none for artificial networks."""
    return [
        Table(
            one.workload,
            one.track,
            f"{one.granularity}, at equal SynOps",
            one.equal_synops,
            SYNOPS_COLUMNS,
            "Accuracy of each method at the same number of SynOps, interpolated linearly in log "
            "SynOps between two densities of the method. Nothing is extrapolated: a method is "
            "missing where its own runs do not reach that number.",
        )
        for one in standings
        if one.equal_synops
    ]


def synops_target_tables(rows: Sequence[Row]) -> list[Table]:
    """Make tables of runs whose target is a number of SynOps; the dense network comes first."""
    return [
        Table(
            own[0].workload,
            own[0].track,
            f"{own[0].granularity}, at target SynOps",
            (*([dense] if dense else []), *own),
            tuple(c for c in TARGET_COLUMNS if not c.optional or any(c.value(r) for r in own)),
            "Each run searches its density so that its network has the target SynOps on "
            "validation samples. A run whose final SynOps differ from the target by more than "
            f"{percent(SYNOPS_TOLERANCE, 0)} % is off-target. Rows share a rank unless a paired "
            "test separates them, corrected for all comparisons of the table (Holm).",
        )
        for dense, own in synops_tables_of(rows)
    ]


def area_tables(standings: Sequence[Standing]) -> list[Table]:
    """Make tables of areas, largest first; none where methods share fewer than two densities."""
    return list(_area_tables(standings))


def _area_tables(standings: Sequence[Standing]) -> Iterator[Table]:
    for one in standings:
        if one.areas is None or len(one.areas.densities) < 2:
            continue
        rows = one.areas.methods
        columns = [c for c in AREA_COLUMNS if not c.optional or one.areas.synops]
        densities = ", ".join(f"{density:g}" for density in one.areas.densities)
        note = f"Trapezoids over log2, over the range that all methods have: densities {densities}"
        if one.areas.synops:
            low, high = one.areas.synops
            note += f"; {percent(low, 1)} to {percent(high, 1)} % of the dense SynOps"
        yield Table(
            one.workload, one.track, f"{one.granularity}, areas", rows, tuple(columns), f"{note}."
        )
