"""Small-sample statistics over seeds; docs/statistics.md has every formula and its source."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy.special import nctdtrinc, stdtr, stdtrit

CONFIDENCE = 0.95
#: Level of a test, and of a whole family of tests after Holm's correction.
ALPHA = 0.05
POWER = 0.8


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and the half-width of its 95 % Student t interval; None for one seed."""

    mean: float
    half_width: float | None
    seeds: int


def estimate(values: Sequence[float]) -> Estimate | None:
    """Mean and t interval of one value per seed; None without values.

    With 5 seeds the t interval contains the mean 94 % of the time, a bootstrap interval 83 %.
    """
    if not values:
        return None
    if len(values) < 2:
        return Estimate(values[0], None, 1)
    half = _quantile(len(values)) * stdev(values) / math.sqrt(len(values))
    return Estimate(fmean(values), half, len(values))


def _quantile(seeds: int, alpha: float = 1 - CONFIDENCE) -> float:
    """Value that the absolute t statistic of `seeds` values exceeds with probability alpha."""
    return float(stdtrit(seeds - 1, 1 - alpha / 2))


def differences(ours: Mapping[int, float], theirs: Mapping[int, float]) -> list[float]:
    """Ours - theirs, for each seed that both have."""
    return [ours[seed] - theirs[seed] for seed in sorted(ours) if seed in theirs]


def paired_difference(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Estimate | None:
    """Mean of ours - theirs over the seeds that both have."""
    return estimate(differences(ours, theirs))


def p_value(difference: Estimate) -> float:
    """Two-sided p of the paired t test that a mean difference is zero.

    If all seeds have the same difference, the standard deviation is zero. On small test sets that
    happens by chance, so it counts as no evidence: p = 1.
    """
    if not difference.half_width:
        return 1.0
    error = difference.half_width / _quantile(difference.seeds)
    return 2 * float(stdtr(difference.seeds - 1, -abs(difference.mean) / error))


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct the p values of a family of tests (Holm 1979); keeps their order.

    If all below alpha are rejected, the probability of any false rejection in the family is at most
    alpha, however the tests depend on each other.
    """
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for done, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - done) * p_values[i]))
        corrected[i] = largest
    return corrected


def detectable_difference(deviation: float, seeds: int, alpha: float = ALPHA) -> float:
    """Smallest true difference that a paired t test detects with probability `POWER`.

    Parameters
    ----------
    deviation
        Standard deviation of the paired differences.
    seeds
        Number of pairs, at least two.
    alpha
        Level of the test, two-sided.

    Returns
    -------
    float
        Noncentrality x deviation / sqrt(seeds), in the unit of `deviation`. At this noncentrality,
        the noncentral t exceeds the critical value with probability `POWER` (Cohen 1988, chapter
        2). The far tail, less than 1e-6 of it, is neglected.
    """
    noncentrality = float(nctdtrinc(seeds - 1, 1 - POWER, _quantile(seeds, alpha)))
    return noncentrality * deviation / math.sqrt(seeds)
