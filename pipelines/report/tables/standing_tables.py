"""Where methods stand over several densities: at equal SynOps, and by areas."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipelines.report.analysis.areas import Area
from pipelines.report.analysis.curves import SynopsRow
from pipelines.report.analysis.standings import Standing
from pipelines.report.tables.columns import METHOD, Column, estimated, gain
from pipelines.report.tables.density_tables import Table
from pipelines.report.tables.text import count, decimal, percent, points

SYNOPS_COLUMNS: tuple[Column[SynopsRow], ...] = (
    METHOD,
    Column(
        "SynOps % of dense",
        "Where the method is compared.",
        lambda r: percent(r.share, 0),
        lambda r: r.share,
    ),
    Column(
        "SynOps",
        "The same as a number, per sample.",
        lambda r: count(r.synops),
        lambda r: r.synops,
    ),
    Column(
        "density",
        "Density at which the method has these SynOps, interpolated.",
        lambda r: decimal(r.density, 3),
        lambda r: r.density,
    ),
    estimated(
        "accuracy %",
        "Interpolated between the method's own densities, seed by seed: mean ± half-width.",
        lambda r: r.accuracy,
    ),
    estimated("drop", "Dense accuracy less this, in points.", lambda r: r.drop, points),
    gain("over random", "random", "random pruning at the same SynOps", optional=False),
    gain("over magnitude", "magnitude", "magnitude pruning at the same SynOps", optional=False),
)

AREA_COLUMNS: tuple[Column[Area], ...] = (
    METHOD,
    estimated(
        "area over density %",
        "Mean accuracy over log density, by trapezoids: mean over seeds ± half-width.",
        lambda r: r.over_density,
    ),
    estimated(
        "area over SynOps %",
        "Mean accuracy over log SynOps, by trapezoids: mean over seeds ± half-width.",
        lambda r: r.over_synops,
        optional=True,
    ),
)


def synops_tables(standings: Sequence[Standing]) -> list[Table]:
    """Methods at equal SynOps, best first; none for artificial networks."""
    return [
        Table(
            one.workload,
            one.track,
            f"{one.granularity}, at equal SynOps",
            one.equal_synops,
            SYNOPS_COLUMNS,
            "Accuracy where a method has so many SynOps: linear in log SynOps between two "
            "densities of its own. Nothing is extrapolated: who is missing never has so many, or "
            "so few.",
        )
        for one in standings
        if one.equal_synops
    ]


def area_tables(standings: Sequence[Standing]) -> list[Table]:
    """Areas under the curves, largest first; none where methods share one density only."""
    return list(_area_tables(standings))


def _area_tables(standings: Sequence[Standing]) -> Iterator[Table]:
    for one in standings:
        if one.areas is None or len(one.areas.densities) < 2:
            continue
        rows = one.areas.methods
        columns = [c for c in AREA_COLUMNS if not c.optional or one.areas.synops]
        densities = ", ".join(f"{density:g}" for density in one.areas.densities)
        note = f"Trapezoids over log2, over what all methods have: densities {densities}"
        if one.areas.synops:
            low, high = one.areas.synops
            note += f"; {percent(low, 1)} to {percent(high, 1)} % of the dense SynOps"
        yield Table(
            one.workload, one.track, f"{one.granularity}, areas", rows, tuple(columns), f"{note}."
        )
