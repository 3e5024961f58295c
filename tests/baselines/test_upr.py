"""UPR: density and masks at the end of a run, and one step of the soft masks."""

from __future__ import annotations

import pytest
import torch

from baselines.upr import EnergyPruning, SoftMasks
from tests.helpers.small_runs import (
    DENSITY,
    masks_and_weights,
    small_trainer,
)


def test_a_run_ends_at_its_density_with_hard_masks() -> None:
    pruner = EnergyPruning(stop=0.5)
    masks, weights = masks_and_weights(pruner)
    assert len(masks) == 1
    assert pruner.context.structure.density(masks[0]) == pytest.approx(DENSITY, abs=0.003)
    assert all(bool((w != 0).any()) for w in weights[-1].values())
    assert pruner.tau == 1000.0


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="0 < first"):
        EnergyPruning(first=0.0)
    with pytest.raises(ValueError, match="scope must be one of"):
        EnergyPruning(scope="global")


def test_one_step_of_soft_masks_by_hand() -> None:
    soft = SoftMasks({"conv1": torch.ones(1, 1, 1, 1), "fc1": torch.ones(2, 2)})
    assert list(soft.units) == ["fc1"], "the first layer reads the input, not neurons"
    assert soft.open(5.0)["conv1"].item() == 0.5
    assert soft.open(5.0)["fc1"].flatten().tolist() == [0.25] * 4
    slopes = {"conv1": torch.zeros(1, 1, 1, 1), "fc1": torch.tensor([[-1.0, 0.0], [0.0, 0.0]])}
    spikes = {"conv1": torch.zeros(1), "fc1": torch.tensor([1.0, 9.0])}
    factors = {"conv1": 0.0, "fc1": 0.1}
    soft.step(slopes, spikes, factors, 5.0, 0.01)  # costs are 1 / 20 and 9 / 20 of factor 0.1
    signs = soft.weights["fc1"].detach().sign()
    assert signs.tolist() == [[1, -1], [-1, -1]], (
        "the mask of the useful weight opens; the others close"
    )
    assert soft.units["fc1"].detach().sign().tolist() == [[1, -1]]
    assert soft.weights["conv1"].item() == 0
    # A connection is open if its synapse and its neuron are.
    assert soft.logits()["fc1"].detach().sign().tolist() == [[1, -1], [-1, -1]]
    with torch.no_grad():
        soft.weights["fc1"].fill_(2.0)
        soft.units["fc1"].copy_(torch.tensor([[-1.0, 3.0]]))
    assert soft.logits()["fc1"].tolist() == [[-1, 2], [-1, 2]]


def test_a_layer_without_spikes_costs_the_same_for_all_weights() -> None:
    soft = SoftMasks({"conv1": torch.ones(2, 1, 1, 1)})
    slopes = {"conv1": torch.tensor([-0.04, -0.06]).view(2, 1, 1, 1)}
    soft.step(slopes, {}, {"conv1": 0.1}, 5.0, 0.01)  # each of the two weights costs 0.05
    assert soft.weights["conv1"].flatten().sign().tolist() == [-1, 1]


def test_masks_are_closed_by_their_logits_and_the_penalty_follows_their_share() -> None:
    pruner = EnergyPruning(stop=0.5, strength=2.0, scope="layer-wise")
    small_trainer(pruner)
    pruner.soft.weights["conv1"].data.view(-1)[:9] = 1.0  # 9 of 36 are open; wanted: 0.3
    pruner.visible(0.1)
    assert pruner.factors["conv1"] == pytest.approx(2.0 * (0.25 / 0.3) ** 2)
    assert pruner.factors["fc1"] == 0
    hidden = pruner.hidden["conv1"].clone()
    masks = pruner.masks(0.5)
    assert masks is not None
    shown = pruner.layer_weights()["conv1"].flatten()
    assert shown[:9].equal(hidden.flatten()[:9]), "open: the whole weight"
    assert not shown[9:].any(), "closed"
    assert bool(masks.parameters["conv1.weight"].flatten()[:9].all())
    (closed,) = pruner.fidelity()
    assert closed.value == pytest.approx(1 - 9 / (36 + 192))
    assert closed.holds
    assert closed.least == pytest.approx(0.8 * 0.7)
