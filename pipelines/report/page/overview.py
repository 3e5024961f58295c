"""The overview: accuracies at the smallest densities, and the methods that beat random pruning."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.methods.catalogue import in_headlines
from pipelines.report.analysis.rows import Row
from pipelines.settings.spec import RANDOM


@dataclass(frozen=True)
class Glance:
    """One granularity of a workload and track at its smallest target density.

    Parameters
    ----------
    dense, random
        Rows of the unpruned network and of random pruning; None if not on the board.
    highest
        Row with the highest mean accuracy; None if no run is ok. As in `above_random`, methods that
        were written after an abstract only are left out.
    above_random
        Methods whose gain over random pruning, paired by seed, has a 95 % interval above zero;
        not corrected for the number of methods.
    methods
        Number of methods that were compared with random pruning.
    seeds
        Smallest number of runs of a row that has runs.
    """

    workload: str
    track: str
    granularity: str
    density: float
    dense: Row | None
    random: Row | None
    highest: Row | None
    above_random: tuple[str, ...]
    methods: int
    seeds: int


def make_overview(rows: Sequence[Row]) -> list[Glance]:
    """Make one line per workload, track and granularity, in the order of the rows."""
    dense = {(row.workload, row.track): row for row in rows if row.is_reference}
    groups: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in rows:
        if isinstance(row.target, float) and not row.is_reference:
            groups[row.workload, row.track, row.granularity].append(row)
    return [_glance(own, dense.get((own[0].workload, own[0].track))) for own in groups.values()]


def _glance(rows: Sequence[Row], dense: Row | None) -> Glance:
    density = min(row.target for row in rows if isinstance(row.target, float))
    own = [row for row in rows if row.target == density]
    shown = [row for row in own if in_headlines(row.method)]
    ranked = [row for row in shown if row.accuracy]
    return Glance(
        workload=own[0].workload,
        track=own[0].track,
        granularity=own[0].granularity,
        density=density,
        dense=dense,
        random=next((row for row in own if row.method == RANDOM), None),
        highest=max(ranked, key=_accuracy, default=None),
        above_random=tuple(sorted(row.method for row in shown if _is_above_random(row))),
        methods=sum(row.gain_over_random is not None for row in shown),
        seeds=min((sum(row.statuses.values()) for row in own if row.statuses), default=0),
    )


def _accuracy(row: Row) -> float:
    return row.accuracy.mean if row.accuracy else 0.0


def _is_above_random(row: Row) -> bool:
    gain = row.gain_over_random
    return gain is not None and gain.half_width is not None and gain.mean > gain.half_width
