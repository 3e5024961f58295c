"""Average ranks of the methods over a whole board, and which ranks differ (Friedman, Nemenyi)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from pipelines.report.analysis.rows import RANKED, Row
from pipelines.report.statistics.friedman import friedman, groups
from pipelines.report.statistics.stats import ALPHA

#: Workloads that a diagram needs: with fewer blocks, ranks are never separated, or by chance.
BLOCKS = 6


@dataclass(frozen=True)
class CriticalDifference:
    """Friedman's test and Nemenyi's critical difference over workloads, one block each.

    Parameters
    ----------
    track, granularity
        What the methods were compared on.
    methods, ranks
        Methods and their average ranks, best first.
    blocks
        Number of blocks, which are workloads.
    statistic, p
        Of Friedman's test that all methods are equal.
    critical_difference
        Methods whose average ranks differ by less are not separated.
    alike
        Largest groups of methods that are not separated; one group of all if p is 0.05 or more.
    left_out
        Methods without a run in every block.
    """

    track: str
    granularity: str
    methods: tuple[str, ...]
    ranks: tuple[float, ...]
    blocks: int
    statistic: float
    p: float
    critical_difference: float
    alike: tuple[tuple[str, ...], ...]
    left_out: tuple[str, ...]


def critical_differences(rows: Sequence[Row]) -> list[CriticalDifference]:
    """Compute one per track and granularity with at least three methods, six workloads, five seeds.

    A block is a workload: a method's accuracy there is the mean over densities and seeds, because
    runs of one workload are no independent blocks. A method with a run that is not ok shares the
    last rank of the block, so it gains nothing by failing where it is weak. A method whose runs do
    not all have a record is left out, and so are emergent rows, matched runs and the dense network.
    """
    tables: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        if isinstance(row.target, float) and not row.is_reference:
            tables[row.track, row.granularity].append(row)
    return list(_differences(tables))


def _differences(tables: dict[tuple[str, str], list[Row]]) -> Iterator[CriticalDifference]:
    for (track, granularity), rows in tables.items():
        places = {(row.workload, row.target) for row in rows}
        own: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            own[row.method].append(row)
        complete = sorted(
            method
            for method, found in own.items()
            if len(found) == len(places) and not any(row.missing for row in found)
        )
        runs = [sum(row.statuses.values()) for method in complete for row in own[method]]
        blocks = sorted({workload for workload, _ in places})
        if len(complete) < 3 or min(runs) < RANKED or len(blocks) < BLOCKS:
            continue
        table = [
            [_score([row for row in own[m] if row.workload == block]) for m in complete]
            for block in blocks
        ]
        result = friedman(np.array(table))
        order = sorted(range(len(complete)), key=lambda i: (result.ranks[i], complete[i]))
        methods = tuple(complete[i] for i in order)
        ranks = tuple(result.ranks[i] for i in order)
        difference = result.critical_difference
        alike = groups(ranks, difference) if result.p < ALPHA else [(0, len(methods) - 1)]
        yield CriticalDifference(
            track=track,
            granularity=granularity,
            methods=methods,
            ranks=ranks,
            blocks=len(blocks),
            statistic=result.statistic,
            p=result.p,
            critical_difference=difference,
            alike=tuple(methods[first : last + 1] for first, last in alike),
            left_out=tuple(sorted(own.keys() - set(complete))),
        )


def _score(rows: Sequence[Row]) -> float:
    """Mean accuracy of a method in a workload; -inf if a run is not ok."""
    if any(set(row.statuses) != {"ok"} or row.accuracy is None for row in rows):
        return -np.inf
    return fmean(row.accuracy.mean for row in rows if row.accuracy)
