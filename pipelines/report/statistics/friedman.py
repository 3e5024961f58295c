"""Friedman's test over blocks, Nemenyi's critical difference, and groups not separated.

Follows Demšar 2006, Statistical comparisons of classifiers over multiple data sets, JMLR 7:1-30.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.report.statistics.stats import ALPHA


@dataclass(frozen=True)
class Friedman:
    """Average ranks of methods over blocks.

    Parameters
    ----------
    ranks
        Average rank of each method; 1 is best.
    statistic, p
        Friedman's chi-square for equal methods, corrected for ties, and its p value.
    critical_difference
        Methods whose average ranks differ by less are not separated (Nemenyi, alpha 0.05).
    """

    ranks: tuple[float, ...]
    statistic: float
    p: float
    critical_difference: float


def friedman(scores: NDArray[np.float64]) -> Friedman:
    """Compare methods over blocks.

    Parameters
    ----------
    scores
        [blocks, methods], at least three methods; higher is better, equal scores share ranks.
    """
    from scipy import stats  # slow to import

    blocks, methods = scores.shape
    ranks = stats.rankdata(-scores, axis=1).mean(0)
    if (scores == scores[:, :1]).all():  # all ranks are tied: the statistic would be 0 / 0
        statistic, p = 0.0, 1.0
    else:
        statistic, p = stats.friedmanchisquare(*scores.T)
    return Friedman(
        tuple(float(rank) for rank in ranks),
        float(statistic),
        float(p),
        critical_difference(methods, blocks),
    )


def critical_difference(methods: int, blocks: int) -> float:
    """Nemenyi's critical difference of average ranks.

    It is q / sqrt(2) times sqrt(k (k + 1) / 6N) for k methods and N blocks, where q is the quantile
    of the studentized range with infinitely many degrees of freedom.
    """
    from scipy.stats import studentized_range

    quantile = float(studentized_range.ppf(1 - ALPHA, methods, math.inf)) / math.sqrt(2)
    return quantile * math.sqrt(methods * (methods + 1) / (6 * blocks))


def groups(ranks: Sequence[float], difference: float) -> list[tuple[int, int]]:
    """Largest groups of neighbours in rank whose first and last differ by less than `difference`.

    Parameters
    ----------
    ranks
        Average ranks, ascending.
    difference
        The critical difference.

    Returns
    -------
    list
        First and last position of each group of two methods or more.
    """
    found: list[tuple[int, int]] = []
    for first, rank in enumerate(ranks):
        last = max(i for i, other in enumerate(ranks) if other - rank < difference)
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return found
