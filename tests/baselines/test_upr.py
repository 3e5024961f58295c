"""UPR: density and masks at the end of a run, and one step of the soft masks."""

from __future__ import annotations

import pytest
import torch

from baselines.upr import EnergyPruning, SoftMasks
from tests.helpers.small_runs import (
    DENSITY,
    masks_and_weights,
)


def test_a_run_ends_at_its_density_with_hard_masks() -> None:
    pruner = EnergyPruning(strength=0.01)
    masks, weights = masks_and_weights(pruner)
    assert len(masks) == 1
    assert pruner.context.structure.density(masks[0]) == pytest.approx(DENSITY, abs=0.003)
    assert all(bool((w != 0).any()) for w in weights[-1].values())
    assert pruner.tau == 1000.0


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="0 < first"):
        EnergyPruning(first=0.0)


def test_one_step_of_soft_masks_by_hand() -> None:
    soft = SoftMasks({"conv1": torch.ones(1, 1, 1, 1), "fc1": torch.ones(2, 2)})
    assert list(soft.units) == ["fc1"], "the first layer reads the input, not neurons"
    assert soft.open(5.0)["conv1"].item() == 0.5
    assert soft.open(5.0)["fc1"].flatten().tolist() == [0.25] * 4
    slopes = {"conv1": torch.zeros(1, 1, 1, 1), "fc1": torch.tensor([[-1.0, 0.0], [0.0, 0.0]])}
    spikes = {"conv1": torch.zeros(1), "fc1": torch.tensor([1.0, 9.0])}
    soft.step(slopes, spikes, 0.1, 5.0, 0.01)  # costs are 1 / 20 and 9 / 20 of strength 0.1
    signs = soft.weights["fc1"].detach().sign()
    assert signs.tolist() == [[1, -1], [-1, -1]], (
        "the mask of the useful weight opens; the others close"
    )
    assert soft.units["fc1"].detach().sign().tolist() == [[1, -1]]
    assert soft.weights["conv1"].item() == 0
