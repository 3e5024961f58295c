"""Scores: the test accuracies of the runs of a row, and the test items that each had right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from pipelines.report.statistics.stats import (
    Estimate,
    estimate,
    estimates,
    item_error,
    item_errors,
)


@dataclass(frozen=True)
class Correct:
    """Which test items the runs of a row classified correctly.

    Parameters
    ----------
    packed
        Seed -> one bit per item; the first item is the highest bit of the first byte.
    items
        Number of test items.
    """

    packed: Mapping[int, bytes]
    items: int

    def of(self, seeds: Sequence[int]) -> NDArray[np.uint8]:
        """Return 1 for each item that was right, else 0: [seeds, items]."""
        joined = b"".join(self.packed[seed] for seed in seeds)
        bits = np.frombuffer(joined, dtype=np.uint8).reshape(len(seeds), -1)
        return np.unpackbits(bits, axis=1, count=self.items)


@dataclass(frozen=True)
class Scores:
    """The results of the runs of a row that are ok.

    Parameters
    ----------
    accuracies
        Test accuracy by seed.
    correct
        The items that were right; None if the records of some seed do not say it.
    """

    accuracies: Mapping[int, float]
    correct: Correct | None = None


#: A linear combination of rows: a weight and scores of each.
Terms = Sequence[tuple[float, Scores]]


def estimate_of(terms: Terms) -> Estimate | None:
    """Estimate a linear combination of rows, over the seeds that all have; None without any.

    ``[(1, a)]`` is the accuracy of a row, ``[(1, a), (-1, b)]`` the difference of two rows, paired
    by seed and test item.
    """
    if not terms:
        return None
    (_, first), *others = terms
    seeds = [s for s in first.accuracies if all(s in other.accuracies for _, other in others)]
    seeds.sort()
    values = [sum(w * scores.accuracies[seed] for w, scores in terms) for seed in seeds]
    return estimate(values, _item_error(terms, seeds) if len(seeds) > 1 else None)


def difference(ours: Scores, theirs: Scores) -> Estimate | None:
    """Mean of ours - theirs, paired by seed and test item."""
    return estimate_of([(1.0, ours), (-1.0, theirs)])


def _item_error(terms: Terms, seeds: Sequence[int]) -> float | None:
    found = [scores.correct for _, scores in terms]
    correct = [one for one in found if one is not None]
    if len(correct) < len(found) or len({one.items for one in correct}) > 1:
        return None
    values = np.zeros((len(seeds), correct[0].items), dtype=np.float32)
    for (weight, _), one in zip(terms, correct, strict=True):
        values += np.float32(weight) * one.of(seeds)
    flat = values.ravel()
    return item_error(
        values.sum(0).astype(np.float64), values.sum(1).astype(np.float64), float(flat @ flat)
    )


def pair_differences(group: Sequence[Scores]) -> list[Estimate | None]:
    """Difference of every pair of rows, in the order of `itertools.combinations`.

    The result is that of `difference`. Rows with equal seeds, which is the usual case, are compared
    by matrix products instead of pair by pair.
    """
    first = group[0]
    seeds = sorted(first.accuracies)
    same = all(one.accuracies.keys() == first.accuracies.keys() for one in group)
    if not same or len(group) < 3 or len(seeds) < 2:
        return [difference(one, two) for one, two in combinations(group, 2)]
    one, two = np.triu_indices(len(group), 1)
    table = np.array([[scores.accuracies[seed] for seed in seeds] for scores in group])
    return [*estimates(table[one] - table[two], _pair_item_errors(group, seeds))]


def _pair_item_errors(group: Sequence[Scores], seeds: Sequence[int]) -> NDArray[np.float64] | None:
    """Item error of every pair; None if some row does not say which items were right."""
    correct = [scores.correct for scores in group if scores.correct is not None]
    if len(correct) < len(group) or len({one.items for one in correct}) > 1:
        return None
    rows, items = len(group), correct[0].items
    sums = np.zeros((rows, items), dtype=np.float32)
    seed_sums = np.zeros((rows, len(seeds)))
    both = np.zeros((rows, rows))  # items that two rows have right, summed over the seeds
    for i, seed in enumerate(seeds):  # whole numbers below 2^24 are exact in float32
        right = np.concatenate([one.of([seed]) for one in correct]).astype(np.float32)
        sums += right
        seed_sums[:, i] = right.sum(1)
        both += right @ right.T
    product = (sums @ sums.T).astype(np.float64)
    one, two = np.triu_indices(rows, 1)

    def of_difference(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Squared norm of the difference of two rows, by the products of the rows."""
        norms = matrix.diagonal()
        return norms[one] + norms[two] - 2 * matrix[one, two]

    return item_errors(
        of_difference(product), seed_sums[one] - seed_sums[two], of_difference(both), items
    )
