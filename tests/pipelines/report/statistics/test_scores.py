"""Intervals over seeds and test items: by hand, and in simulations with known truth."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import ndtr
from scipy.stats import norm, t

from pipelines.report.analysis.comparisons import compare
from pipelines.report.statistics.scores import (
    Correct,
    Scores,
    difference,
    estimate_of,
    pair_differences,
)
from pipelines.report.statistics.stats import Estimate, half_width, p_value
from tests.pipelines.report.statistics.test_stats import row

ITEMS, SEEDS = 450, 8


def scores(right: NDArray[np.bool_]) -> Scores:
    """Scores of runs with these answers, [seeds, items]."""
    seeds = range(len(right))
    packed = {seed: np.packbits(right[seed]).tobytes() for seed in seeds}
    return Scores(
        {seed: float(right[seed].mean()) for seed in seeds}, Correct(packed, right.shape[1])
    )


def answers(
    draw: np.random.Generator,
    mean: float,
    shared: tuple[NDArray[np.float64], NDArray[np.float64]],
    own: float,
    seeds: int = SEEDS,
) -> NDArray[np.bool_]:
    """Answers of a method: it is right where difficulty, luck of the seed and noise leave it so.

    Its accuracy over all items and seeds is `truth`.

    Parameters
    ----------
    shared
        Difficulty of the items and luck of the seeds, equal for all methods.
    own
        Deviation of the method's own part of the difficulty; of the luck, a third of it.
    """
    items, luck = shared
    of_items, of_seeds = draw.normal(0, own, ITEMS), draw.normal(0, own / 3, (seeds, 1))
    noise = draw.normal(0, 1, (seeds, ITEMS))
    return np.asarray(mean + items + of_items + luck[:seeds] + of_seeds + noise > 0)


def shared_parts(
    draw: np.random.Generator, seeds: int = SEEDS
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return draw.normal(0, 1.3, ITEMS), draw.normal(0, 0.2, (seeds, 1))


def truth(mean: float, own: float) -> float:
    return float(ndtr(mean / math.sqrt(1.3**2 + 0.2**2 + 1 + own**2 + (own / 3) ** 2)))


def covers(found: Estimate | None, true: float) -> bool:
    assert found is not None
    assert found.half_width is not None
    return abs(found.mean - true) <= found.half_width


def test_two_seeds_and_four_items_by_hand() -> None:
    # Sums of squares: of items (4 + 4 + 1) / 2 - 25/8 = 11/8 over 3, of seeds (9 + 4) / 4 - 25/8 =
    # 1/8, of all values 5 - 25/8 = 15/8; so the rest is 3/8 over 1 x 3.
    found = estimate_of([(1.0, scores(np.array([[1, 1, 1, 0], [1, 1, 0, 0]], dtype=bool)))])
    assert found is not None
    assert found.mean == 5 / 8
    assert found.seed_error == pytest.approx(1 / 8)
    assert found.item_error == pytest.approx(math.sqrt((11 / 24 - 1 / 8) / 8))
    expected = (t.ppf(0.975, 1) / 8) ** 2 + norm.ppf(0.975) ** 2 * (1 / 24)
    assert found.half_width == pytest.approx(math.sqrt(expected))


def test_equal_answers_differ_by_nothing() -> None:
    one = scores(np.random.default_rng(0).random((5, 100)) < 0.9)
    found = difference(one, one)
    assert found is not None
    assert (found.mean, found.half_width, found.item_error) == (0.0, 0.0, 0.0)
    assert p_value(found) == 1.0


def test_seeds_alone_where_answers_are_unknown() -> None:
    known = scores(np.random.default_rng(0).random((5, 100)) < 0.9)
    old = Scores({seed: 0.8 + seed / 100 for seed in range(5)})
    found = difference(known, old)
    assert found is not None
    assert found.item_error is None
    assert found.seed_error is not None
    assert found.half_width == pytest.approx(t.ppf(0.975, 4) * found.seed_error)


def test_pairs_at_once_are_pairs_one_by_one() -> None:
    draw = np.random.default_rng(1)
    shared = shared_parts(draw)
    group = [scores(answers(draw, 2.0, shared, 0.3)) for _ in range(5)]
    few = [*group, scores(answers(draw, 2.0, shared, 0.3, 6))]
    for rows in (group, few, [Scores(one.accuracies) for one in group]):
        for found, (one, two) in zip(pair_differences(rows), combinations(rows, 2), strict=True):
            single = difference(one, two)
            assert found is not None
            assert single is not None
            assert found.seeds == single.seeds
            assert found.mean == pytest.approx(single.mean)
            assert found.half_width == pytest.approx(single.half_width)
            assert found.item_error == pytest.approx(single.item_error)


def test_p_is_the_level_at_which_the_interval_ends_at_zero() -> None:
    for errors in ((0.01, 0.005), (0.01, 0.0), (0.002, 0.02)):
        p = p_value(Estimate(0.03, None, 6, *errors))
        assert half_width(*errors, 6, p) == pytest.approx(0.03)


@pytest.mark.slow
@pytest.mark.parametrize("own", [0.05, 0.3, 0.6])
@pytest.mark.parametrize("seeds", [3, 5, SEEDS])
def test_intervals_cover_as_often_as_they_say(own: float, seeds: int) -> None:
    draw, trials = np.random.default_rng(2), 1000
    means = (3.6, 3.3)
    true = [truth(mean, own) for mean in means]
    hits, alone = np.zeros(3), 0
    for _ in range(trials):
        shared = shared_parts(draw, seeds)
        one, two = (scores(answers(draw, mean, shared, own, seeds)) for mean in means)
        apart = true[0] - true[1]
        hits += [
            covers(estimate_of([(1.0, one)]), true[0]),
            covers(estimate_of([(1.0, two)]), true[1]),
            covers(difference(one, two), apart),
        ]
        alone += covers(estimate_of([(1.0, Scores(one.accuracies))]), true[0])
    error = math.sqrt(0.95 * 0.05 / trials)
    assert (hits / trials > 0.95 - 4 * error).all(), "at least 95 %"
    assert (hits / trials < 0.995).all(), "not far more"
    assert own > 0.3 or seeds < SEEDS or alone / trials < 0.9, "seeds alone cover less"


@pytest.mark.slow
@pytest.mark.parametrize("own", [0.05, 0.6])
@pytest.mark.parametrize("seeds", [5, SEEDS])
def test_false_separations_are_rare(own: float, seeds: int) -> None:
    draw, trials, errors = np.random.default_rng(3), 500, 0
    for _ in range(trials):
        shared = shared_parts(draw, seeds)
        found = [scores(answers(draw, 3.5, shared, own, seeds)) for _ in range(5)]
        rows = [
            row(f"m{i}", dict(one.accuracies), 0.1, correct=one.correct)
            for i, one in enumerate(found)
        ]
        errors += any(one.separated for one in compare(rows))
    assert errors / trials <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / trials)
