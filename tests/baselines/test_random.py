"""Random pruning: weights per layer."""

from __future__ import annotations

import pytest

from baselines.random import Random
from tests.helpers.methods import (
    begin_with_probe,
    initial_masks,
)


@pytest.mark.parametrize(
    ("scope", "counts"),
    [
        # The layers have 36, 216 and 240 of 492 weights; a quarter is 123.
        ("layer-wise", [9, 54, 60]),
        # The sums of dimensions are 11, 16 and 34; the first layer keeps 123 / 61 * 11 = 22.
        ("erk", [22, 32, 69]),
    ],
)
def test_layer_densities(scope: str, counts: list[int]) -> None:
    pruner = Random(start=0.0, stop=0.0, scope=scope)  # type: ignore[arg-type]
    begin_with_probe(pruner, 0.25)
    found = [int(mask.sum()) for mask in initial_masks(pruner).values()]
    assert sum(found) == 123
    assert found == pytest.approx(counts, abs=1)
