"""Network slimming: penalty and scores, by hand."""

from __future__ import annotations

import pytest
import torch

from baselines.slimming import Slimming
from tests.helpers.methods import (
    begin,
    constant_network,
)


def test_penalty_and_scores() -> None:
    net = constant_network()
    with torch.no_grad():
        net.get_parameter("conv1_norm.weight").copy_(torch.tensor([0.5, -2.0]))
    pruner = begin(Slimming(strength=0.1, start=0.5, stop=0.5), net)
    penalty = pruner.penalty()
    assert penalty.item() == pytest.approx(0.1 * (0.5 + 2 + 1 + 1))
    penalty.backward()
    gradient = net.get_parameter("conv1_norm.weight").grad
    torch.testing.assert_close(gradient, torch.tensor([0.1, -0.1]))
    assert net.get_parameter("conv1_norm.bias").grad is None
    assert pruner.unit_scores()["conv1"].tolist() == [0.5, 2]
    assert pruner.masks(0.5) is not None
    assert pruner.penalty() is None, "fine-tuning has no penalty"
    trained, one_threshold, ratio = pruner.fidelity()
    assert (trained.value, one_threshold.value) == (0.5, 1)
    sizes = {"conv1": [0.5, 2.0], "fc1": [1.0, 1.0]}
    kept = [s for n, u in pruner.alive.items() for s, k in zip(sizes[n], u, strict=True) if k]
    pruned = [s for n, u in pruner.alive.items() for s, k in zip(sizes[n], u, strict=True) if not k]
    expected = (sum(pruned) / len(pruned)) / (sum(kept) / len(kept))
    assert ratio.value == pytest.approx(expected)


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="strength"):
        Slimming(strength=-1.0)
