"""The analysis of a board: ranks, separations, areas, equal SynOps, average ranks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from pipelines.report.analysis.areas import Areas, areas
from pipelines.report.analysis.comparisons import (
    OWN_SHUFFLE,
    Comparison,
    Detectable,
    compare,
    detectable,
    ranked,
    waiting,
)
from pipelines.report.analysis.critical_difference import CriticalDifference, critical_differences
from pipelines.report.analysis.rows import MAGNITUDE, Row
from pipelines.report.analysis.synops_curves import SynopsRow, at_equal_synops
from pipelines.settings.spec import RANDOM


@dataclass(frozen=True)
class Standing:
    """Comparisons of the methods of one table: one workload, one track, one granularity.

    Parameters
    ----------
    controls
        Every row against `random`, `magnitude` and its shuffled control; empty with few seeds.
    separations
        Pairs of rows that differ, the better row first.
    detectable
        Smallest detectable differences, by number of seeds; empty with few seeds.
    areas
        Areas under the curves.
    equal_synops
        Methods at equal SynOps; empty for artificial networks.
    """

    workload: str
    track: str
    granularity: str
    controls: tuple[Comparison, ...]
    separations: tuple[Comparison, ...]
    detectable: tuple[Detectable, ...]
    areas: Areas | None
    equal_synops: tuple[SynopsRow, ...]


@dataclass(frozen=True)
class Analysis:
    """The whole analysis of a board.

    Parameters
    ----------
    rows
        In their order, with ranks.
    standings
        One per table.
    critical_differences
        Average ranks by track and granularity; none with few seeds.
    """

    rows: tuple[Row, ...]
    standings: tuple[Standing, ...]
    critical_differences: tuple[CriticalDifference, ...]

    @property
    def computed(self) -> Analysis:
        """The same without the rows of which no cell has a record."""
        return replace(self, rows=tuple(row for row in self.rows if row.statuses))


def tables_of(rows: Sequence[Row]) -> Iterator[tuple[Row | None, list[Row]]]:
    """The dense network and the other rows of each workload, track and granularity.

    Rows whose target is a number of SynOps are left out; `synops_tables_of` yields these.
    """
    yield from _tables([row for row in rows if row.synops_target is None])


def synops_tables_of(rows: Sequence[Row]) -> Iterator[tuple[Row | None, list[Row]]]:
    """As `tables_of`, with the rows whose target is a number of SynOps."""
    yield from _tables([row for row in rows if row.is_reference or row.synops_target is not None])


def _tables(rows: Sequence[Row]) -> Iterator[tuple[Row | None, list[Row]]]:
    dense = {(row.workload, row.track): row for row in rows if row.is_reference}
    own: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        if not row.is_reference:
            own.setdefault((row.workload, row.track, row.granularity), []).append(row)
    for (workload, track, _), found in own.items():
        yield dense.get((workload, track)), found


def analyse(rows: Sequence[Row]) -> Analysis:
    """Analyse the rows of a board; rows of different tables are never compared."""
    standings = []
    finished = [row for row in rows if row.is_reference]
    for dense, own in tables_of(rows):
        comparisons = compare(own)
        finished += ranked(own, comparisons)
        standings.append(
            Standing(
                workload=own[0].workload,
                track=own[0].track,
                granularity=own[0].granularity,
                controls=tuple(_against_controls(comparisons)),
                separations=tuple(
                    one for one in comparisons if one.separated and one.other != OWN_SHUFFLE
                ),
                detectable=detectable(own, len(comparisons) + waiting(own)),
                areas=areas(own, dense),
                equal_synops=tuple(at_equal_synops(own, dense)),
            )
        )
    for _, own in synops_tables_of(rows):
        finished += ranked(own, compare(own))
    place = {row.key: i for i, row in enumerate(rows)}
    finished.sort(key=lambda row: place[row.key])
    return Analysis(tuple(finished), tuple(standings), tuple(critical_differences(rows)))


def _against_controls(comparisons: Sequence[Comparison]) -> Iterator[Comparison]:
    """Comparisons with a control, with the controlled row first."""
    for one in comparisons:
        for control in (RANDOM, MAGNITUDE):
            if control in (one.method, one.other) and one.other != OWN_SHUFFLE:
                yield one.seen_from(one.other if one.method == control else one.method)
        if one.other == OWN_SHUFFLE:
            yield one
