"""Random pruning: weights per layer."""

from __future__ import annotations

import pytest
import torch

from baselines.random import SILENCED, Random
from tests.helpers.methods import (
    begin,
    begin_with_probe,
    constant_network,
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


def test_time_steps_are_silenced_along_the_schedule_and_stay_silent() -> None:
    net = constant_network("snn", layout="20C3-30FC")  # three time steps
    pruner = begin(Random(start=0.0, stop=1.0), net, "spatio-temporal")
    shares, before = [], dict[str, torch.Tensor]()
    for progress in (0.01, 0.5, 1.0):
        masks = pruner.masks(progress)
        assert {name: kept.shape for name, kept in masks.steps.items()} == {
            "conv1": (20, 3),
            "fc1": (30, 3),
        }
        assert not any(bool((masks.steps[name] & ~kept).any()) for name, kept in before.items())
        before = dict(masks.steps)
        shares.append(1 - sum(int(k.sum()) for k in before.values()) / 150)
    # 1 - 0.99^3 and 1 - 0.5^3 of a quarter, up to chance.
    assert shares == pytest.approx([0.03 * SILENCED, 0.875 * SILENCED, SILENCED], abs=0.08)
    assert pruner.context.structure.density(masks) == pytest.approx(0.5, abs=0.005)


def test_the_other_granularities_silence_nothing() -> None:
    pruner = begin(Random(start=0.0, stop=0.5), constant_network("snn"), "hybrid")
    assert pruner.masks(0.5).steps == {}
