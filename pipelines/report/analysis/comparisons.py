"""Pairwise tests between the rows of a table, corrected for the number of comparisons."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import median

import numpy as np

from pipelines.report.analysis.rows import LISTED, RANKED, Row
from pipelines.report.statistics.scores import pair_differences
from pipelines.report.statistics.stats import ALPHA, Estimate, half_width, holm, p_values

#: Name of a row's shuffled control, with which it is compared besides other rows.
OWN_SHUFFLE = "own shuffle"


@dataclass(frozen=True)
class Comparison:
    """A paired test between two rows at the same density, or a row and its shuffled control.

    Parameters
    ----------
    method, other
        The two rows; `difference` is the accuracy of the first minus that of the second.
    matched
        The density that they share: the target, or ``as METHOD``.
    p, corrected
        Two-sided p of this test alone, and after Holm's correction over the table.
    """

    method: str
    other: str
    matched: float | str
    difference: Estimate
    p: float
    corrected: float

    @property
    def separated(self) -> bool:
        """Whether the two differ after correction."""
        return self.corrected < ALPHA

    def seen_from(self, method: str) -> Comparison:
        """The same comparison with `method` first."""
        if method == self.method:
            return self
        difference = replace(self.difference, mean=-self.difference.mean)
        return replace(self, method=self.other, other=self.method, difference=difference)


@dataclass(frozen=True)
class Detectable:
    """Smallest difference by which two rows at some densities must differ to be separated.

    Parameters
    ----------
    densities
        The densities of a table whose comparisons have equally many seeds.
    seeds
        Number of seeds in a comparison.
    seed_error, item_error
        Standard errors of the paired difference of two rows, by seeds and by test items: medians
        over all pairs at these densities. `item_error` is None if some pair has none.
    alone
        The smallest difference if it were the only comparison, at level 0.05.
    corrected
        The smallest difference at the strictest level of Holm's correction, 0.05 / `tests`. A
        difference that is larger is separated, whatever the other comparisons give.
    tests
        Number of comparisons in the whole table, those that wait for records included; with fewer
        than five seeds, those that it would have.
    """

    densities: tuple[float | str, ...]
    seeds: int
    seed_error: float
    item_error: float | None
    alone: float
    corrected: float
    tests: int


def compare(rows: Sequence[Row]) -> list[Comparison]:
    """Compare every pair of rows at the same density, and each row with its shuffled control.

    All rows have the same workload, track and granularity. Pairs with fewer than five common seeds
    are not compared. The better row of a pair comes first. Comparisons that wait for records count
    as if they separated nothing, so that no later record widens the family.
    """
    family = [*_pairs(rows), *_shuffles(rows)]
    p = _p_values([difference for *_, difference in family])
    corrected = holm([*p, *[1.0] * waiting(rows)])[: len(p)]
    return [
        Comparison(method, other, matched, difference, alone, after)
        for (method, other, matched, difference), alone, after in zip(
            family, p, corrected, strict=True
        )
    ]


def waiting(rows: Sequence[Row]) -> int:
    """Count the comparisons that `compare` cannot make yet, as runs or controls have no record."""
    pairs = sum(
        bool(one.missing or two.missing)
        and min(one.asked, two.asked) >= RANKED
        and len(one.accuracies.keys() & two.accuracies.keys()) < RANKED
        for group in _groups(rows)
        for one, two in combinations(group, 2)
    )
    shuffles = sum(
        bool(row.missing_controls)
        and row.asked >= RANKED
        and (row.gain_over_shuffled is None or row.gain_over_shuffled.seeds < RANKED)
        for row in rows
    )
    return pairs + shuffles


def _p_values(found: Sequence[Estimate]) -> list[float]:
    """P value of each difference; those over equally many seeds are computed together."""
    p = np.ones(len(found))
    for seeds in {one.seeds for one in found}:
        places = [i for i, one in enumerate(found) if one.seeds == seeds]
        own = [found[i] for i in places]
        p[places] = p_values(
            np.array([one.mean for one in own]),
            np.array([one.seed_error or 0.0 for one in own]),
            np.array([one.item_error or 0.0 for one in own]),
            seeds,
        )
    return [float(value) for value in p]


def _pairs(rows: Sequence[Row]) -> Iterator[tuple[str, str, float | str, Estimate]]:
    for group in _groups(rows):
        for one, two, found in _differences(group):
            if found.seeds >= RANKED:
                first, second = (two, one) if found.mean < 0 else (one, two)
                better = replace(found, mean=abs(found.mean))
                yield first.method, second.method, one.density_group, better


def _differences(group: Sequence[Row]) -> Iterator[tuple[Row, Row, Estimate]]:
    """Every pair of rows of a group with their difference, unless they have no common seed."""
    pairs = combinations(group, 2)
    found = pair_differences([row.scores for row in group])
    for (one, two), difference in zip(pairs, found, strict=True):
        if difference is not None:
            yield one, two, difference


def _shuffles(rows: Sequence[Row]) -> Iterator[tuple[str, str, float | str, Estimate]]:
    for row in rows:
        gain = row.gain_over_shuffled
        if gain is not None and gain.seeds >= RANKED:
            yield row.method, OWN_SHUFFLE, row.density_group, gain


def _groups(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Groups of rows at the same density, without the dense network."""
    groups: dict[float | str, list[Row]] = defaultdict(list)
    for row in rows:
        if not row.is_reference:
            groups[row.density_group].append(row)
    yield from groups.values()


def ranked(rows: Sequence[Row], comparisons: Sequence[Comparison]) -> list[Row]:
    """Rank the rows of a table among the rows at the same density.

    The rank is 1 + the number of better rows that are separated from the row, so rows share a rank
    unless a test separates them. A row with fewer than five seeds, or alone at its density, has no
    rank.
    """
    better: dict[tuple[str, float | str], int] = defaultdict(int)
    compared = set()
    for one in comparisons:
        if one.other != OWN_SHUFFLE:
            compared |= {(one.method, one.matched), (one.other, one.matched)}
            better[one.other, one.matched] += one.separated
    keys = [(row.method, row.density_group) for row in rows]
    return [
        replace(row, rank=1 + better[key]) if key in compared else row
        for row, key in zip(rows, keys, strict=True)
    ]


def detectable(rows: Sequence[Row], tests: int) -> tuple[Detectable, ...]:
    """Smallest detectable differences of a table, by number of seeds, most seeds first.

    A density with fewer than three seeds, or with one row, has none.

    Parameters
    ----------
    rows
        Of the table.
    tests
        Number of its comparisons; 0 if there are too few seeds for them.
    """
    pairs: dict[int, list[Estimate]] = defaultdict(list)
    densities: dict[int, list[float | str]] = defaultdict(list)
    count = 0
    for group in _groups(rows):
        found = [one for *_, one in _differences(group)]
        count += len(found)
        seeds = max((one.seeds for one in found), default=0)
        if seeds >= LISTED:
            densities[seeds].append(group[0].density_group)
            pairs[seeds] += [one for one in found if one.seeds == seeds]
    return tuple(
        _detectable(tuple(densities[seeds]), seeds, pairs[seeds], tests or count)
        for seeds in sorted(pairs, reverse=True)
    )


def _detectable(
    densities: tuple[float | str, ...], seeds: int, pairs: Sequence[Estimate], tests: int
) -> Detectable:
    errors = [(one.seed_error or 0.0, one.item_error) for one in pairs]
    known = [items for _, items in errors if items is not None]
    by_seed = median(one for one, _ in errors)
    by_item = median(known) if len(known) == len(errors) else None
    return Detectable(
        densities=densities,
        seeds=seeds,
        seed_error=by_seed,
        item_error=by_item,
        alone=float(half_width(by_seed, by_item or 0.0, seeds)),
        corrected=float(half_width(by_seed, by_item or 0.0, seeds, ALPHA / tests)),
        tests=tests,
    )
