"""The overview: the first rank at the smallest densities, and what beats random pruning."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.methods.catalogue import in_headlines
from pipelines.report.analysis.comparisons import Detectable
from pipelines.report.analysis.rows import RANKED, Row
from pipelines.report.analysis.standings import Standing
from pipelines.settings.spec import RANDOM


@dataclass(frozen=True)
class Glance:
    """One granularity of a workload and track at its smallest target density.

    Parameters
    ----------
    dense, random
        Rows of the unpruned network and of random pruning; None if not on the board.
    first
        Rows that share the best rank, the highest mean first; empty with few seeds. As in
        `above_random`, methods that were written after an abstract only are left out.
    ranked
        Number of rows that have a rank.
    above_random
        Methods whose gain over random pruning, paired by seed, has a 95 % interval above zero;
        not corrected for the number of methods.
    methods
        Number of methods that were compared with random pruning over at least five seeds.
    smallest
        Smallest detectable difference at the density; None with few seeds or one row.
    seeds
        Smallest number of runs of a row that has runs.
    """

    workload: str
    track: str
    granularity: str
    density: float
    dense: Row | None
    random: Row | None
    first: tuple[Row, ...]
    ranked: int
    above_random: tuple[str, ...]
    methods: int
    smallest: float | None
    seeds: int


def make_overview(rows: Sequence[Row], standings: Sequence[Standing] = ()) -> list[Glance]:
    """Make one line per workload, track and granularity, in the order of the rows."""
    smallest = {(s.workload, s.track, s.granularity): s.detectable for s in standings}
    dense = {(row.workload, row.track): row for row in rows if row.is_reference}
    groups: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in rows:
        if isinstance(row.target, float) and not row.is_reference:
            groups[row.workload, row.track, row.granularity].append(row)
    return [_glance(own, dense.get(key[:2]), smallest.get(key, ())) for key, own in groups.items()]


def smallest_differences(glances: Sequence[Glance]) -> tuple[float, float] | None:
    """Smallest and largest of the smallest detectable differences of a board; None without any."""
    found = [one.smallest for one in glances if one.smallest is not None]
    return (min(found), max(found)) if found else None


def _glance(rows: Sequence[Row], dense: Row | None, smallest: Sequence[Detectable]) -> Glance:
    density = min(row.target for row in rows if isinstance(row.target, float))
    own = [row for row in rows if row.target == density]
    shown = [row for row in own if in_headlines(row.method)]
    best = min((row.rank for row in shown if row.rank is not None), default=None)
    first = [row for row in shown if best is not None and row.rank == best]
    return Glance(
        workload=own[0].workload,
        track=own[0].track,
        granularity=own[0].granularity,
        density=density,
        dense=dense,
        random=next((row for row in own if row.method == RANDOM), None),
        first=tuple(sorted(first, key=_accuracy, reverse=True)),
        ranked=sum(row.rank is not None for row in shown),
        above_random=tuple(sorted(row.method for row in shown if _is_above_random(row))),
        methods=sum(_is_compared(row) for row in shown),
        smallest=next((one.corrected for one in smallest if density in one.densities), None),
        seeds=min((sum(row.statuses.values()) for row in own if row.statuses), default=0),
    )


def _accuracy(row: Row) -> float:
    return row.accuracy.mean if row.accuracy else 0.0


def _is_compared(row: Row) -> bool:
    return row.gain_over_random is not None and row.gain_over_random.seeds >= RANKED


def _is_above_random(row: Row) -> bool:
    gain = row.gain_over_random
    if not _is_compared(row) or gain is None or gain.half_width is None:
        return False
    return gain.mean > gain.half_width
