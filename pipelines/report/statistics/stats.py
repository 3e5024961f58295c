"""Statistics over seeds and test items; docs/statistics.md has every formula and its source."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtr, stdtrit

CONFIDENCE = 0.95
#: Level of a test, and of a whole family of tests after Holm's correction.
ALPHA = 0.05
#: A standard error of an accuracy below this is rounding: all seeds have the same value.
_ROUNDING = 1e-12
#: Halvings of a bracket until a quantile is exact.
_HALVINGS = 50

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its 95 % interval.

    Parameters
    ----------
    mean
        The mean.
    half_width
        Half-width of the interval: sqrt((t seed_error)^2 + (z item_error)^2) with the quantiles t
        of Student's and z of the normal distribution. None for one seed.
    seeds
        Number of seeds.
    seed_error
        Standard error by the deviation between seeds; None for one seed.
    item_error
        Standard error by the choice of the test items; None if the records do not say which items
        were right. The interval is then that of the seeds alone.
    """

    mean: float
    half_width: float | None
    seeds: int
    seed_error: float | None = None
    item_error: float | None = None


def estimate(values: Sequence[float], item_error: float | None = None) -> Estimate | None:
    """Mean and interval of one value per seed; None without values.

    With 5 seeds the t interval contains the mean 94 % of the time, a bootstrap interval 83 %.

    Parameters
    ----------
    values
        One per seed.
    item_error
        Standard error of their mean by the choice of the test items, if it is known.
    """
    if not values:
        return None
    mean, seeds = math.fsum(values) / len(values), len(values)
    if seeds < 2:
        return Estimate(mean, None, 1)
    squares = math.fsum((value - mean) ** 2 for value in values)
    error = math.sqrt(squares / (seeds - 1) / seeds)
    error = 0.0 if error < _ROUNDING else error
    half = float(half_width(error, item_error or 0.0, seeds))
    return Estimate(mean, half, seeds, error, item_error)


def estimates(values: Floats, item_errors: Floats | None = None) -> list[Estimate]:
    """Make the same estimate of many means over the same seeds.

    Parameters
    ----------
    values
        [means, seeds], at least two seeds.
    item_errors
        [means], if they are known.
    """
    seeds = values.shape[1]
    means, errors = values.mean(1), values.std(1, ddof=1) / math.sqrt(seeds)
    errors[errors < _ROUNDING] = 0.0
    known = np.zeros(len(values)) if item_errors is None else item_errors
    halves = half_width(errors, known, seeds)
    assert isinstance(halves, np.ndarray)
    of_items = [None] * len(values) if item_errors is None else item_errors.tolist()
    columns = (means.tolist(), halves.tolist(), errors.tolist(), of_items)
    return [
        Estimate(mean, half, seeds, error, items)
        for mean, half, error, items in zip(*columns, strict=True)
    ]


def half_width(
    seed_error: float | Floats, item_error: float | Floats, seeds: int, alpha: float = ALPHA
) -> float | Floats:
    """Half-width of the interval of a mean whose variance has two parts.

    The part of the seeds is estimated with `seeds` - 1 degrees of freedom, that of the items with
    so many that it counts as known. Each standard error has the quantile of its own distribution
    (Banerjee 1961, Sankhya 23:359-378), so the interval covers at least 1 - `alpha` at any level.
    """
    t, z = stdtrit(seeds - 1, 1 - alpha / 2), ndtri(1 - alpha / 2)
    return np.sqrt((t * seed_error) ** 2 + (z * item_error) ** 2)  # type: ignore[no-any-return]


def item_error(sums: Floats, seed_sums: Floats, squares: float) -> float:
    """Standard error of a mean over seeds and test items by the choice of the items.

    Two-way random effects, crossed, one value per seed and item: the variance between items, less
    what seeds add to it, over the number of items. It is zero where that is negative.

    Parameters
    ----------
    sums, seed_sums
        Sum over the seeds of each item, [items], and over the items of each seed, [seeds].
    squares
        Sum of the squares of all values.
    """
    return float(item_errors(float(sums @ sums), seed_sums, squares, len(sums)))


def item_errors(
    sum_squares: float | Floats, seed_sums: Floats, squares: float | Floats, items: int
) -> Floats:
    """Return the same for many means at once.

    Parameters
    ----------
    sum_squares
        Sum over the items of the squared sum over the seeds, [...].
    seed_sums
        Sum over the items of each seed, [..., seeds].
    squares
        Sum of the squares of all values, [...].
    items
        Number of items.
    """
    seeds = seed_sums.shape[-1]
    centre = seed_sums.sum(-1) ** 2 / (seeds * items)
    of_items = sum_squares / seeds - centre
    of_seeds = (seed_sums**2).sum(-1) / items - centre
    rest = squares - centre - of_items - of_seeds
    excess = of_items / (items - 1) - rest / ((seeds - 1) * (items - 1))
    return np.sqrt(np.maximum(excess, 0.0) / (seeds * items))  # type: ignore[no-any-return]


def p_value(difference: Estimate) -> float:
    """Two-sided p of the test that a mean difference is zero.

    It is the level at which the interval of the difference ends at zero. If all seeds have the same
    difference, that counts as no evidence, because it happens by chance on small test sets: p = 1.
    """
    if difference.seed_error is None:
        return 1.0
    errors = np.array([difference.seed_error]), np.array([difference.item_error or 0.0])
    return float(p_values(np.array([difference.mean]), *errors, difference.seeds)[0])


def p_values(means: Floats, seed_errors: Floats, item_errors: Floats, seeds: int) -> Floats:
    """Return the p values of many differences, each [n], over the same number of seeds."""
    differ = seed_errors > 0
    low, high = np.zeros_like(means), np.abs(means) / np.where(differ, seed_errors, 1.0)
    for _ in range(_HALVINGS if item_errors.any() else 0):
        t = (low + high) / 2
        z = ndtri(stdtr(seeds - 1, -t))
        outside = (t * seed_errors) ** 2 + (z * item_errors) ** 2 > means**2
        low, high = np.where(outside, low, t), np.where(outside, t, high)
    return np.where(differ, np.minimum(1.0, 2 * stdtr(seeds - 1, -high)), 1.0)


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
