"""Pairwise tests between the rows of a table, corrected for the number of comparisons."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import sqrt
from statistics import fmean, variance

from pipelines.report.analysis.rows import LISTED, RANKED, Row
from pipelines.report.analysis.stats import (
    ALPHA,
    Estimate,
    detectable_difference,
    differences,
    estimate,
    holm,
    p_value,
)

#: Name of a row's shuffled control, with which it is compared besides other rows.
OWN_SHUFFLE = "own shuffle"


@dataclass(frozen=True)
class Comparison:
    """A paired t test between two rows at the same density, or a row and its shuffled control.

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
    """Smallest true difference that the tests of a table detect with probability 0.8.

    Parameters
    ----------
    deviation
        Standard deviation of the paired differences between rows, pooled over the table.
    seeds
        Number of pairs in a comparison.
    alone, corrected
        For one test at level 0.05, and for the strictest test under Holm's correction; None
        with too few seeds to compare.
    tests
        Number of comparisons in the table.
    """

    deviation: float
    seeds: int
    alone: float
    corrected: float | None
    tests: int


def compare(rows: Sequence[Row]) -> list[Comparison]:
    """Compare every pair of rows at the same density, and each row with its shuffled control.

    All rows have the same workload, track and granularity. Pairs with fewer than five common seeds
    are not compared. The better row of a pair comes first.
    """
    family = [*_pairs(rows), *_shuffles(rows)]
    p_values = [p_value(difference) for *_, difference in family]
    return [
        Comparison(method, other, matched, difference, p, corrected)
        for (method, other, matched, difference), p, corrected in zip(
            family, p_values, holm(p_values), strict=True
        )
    ]


def _pairs(rows: Sequence[Row]) -> Iterator[tuple[str, str, float | str, Estimate]]:
    for group in _groups(rows):
        for one, two in combinations(group, 2):
            if len(one.accuracies.keys() & two.accuracies.keys()) < RANKED:
                continue
            values = differences(one.accuracies, two.accuracies)
            if fmean(values) < 0:
                one, two, values = two, one, [-value for value in values]  # noqa: PLW2901
            difference = estimate(values)
            assert difference is not None
            yield one.method, two.method, one.density_group, difference


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


def detectable(rows: Sequence[Row], tests: int) -> Detectable | None:
    """Smallest detectable difference of a table; None with fewer than three seeds or two rows.

    The variance of the paired differences is averaged over all pairs at the same density.
    """
    pairs = [
        differences(one.accuracies, two.accuracies)
        for group in _groups(rows)
        for one, two in combinations(group, 2)
    ]
    seeds = max(map(len, pairs), default=0)
    if seeds < LISTED:
        return None
    deviation = sqrt(fmean(variance(values) for values in pairs if len(values) == seeds))
    return Detectable(
        deviation=deviation,
        seeds=seeds,
        alone=detectable_difference(deviation, seeds),
        corrected=detectable_difference(deviation, seeds, ALPHA / tests) if tests else None,
        tests=tests,
    )
