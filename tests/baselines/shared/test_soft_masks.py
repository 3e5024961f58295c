"""Soft masks: one step by hand."""

from __future__ import annotations

import torch

from baselines.shared.soft_masks import SoftMasks


def test_one_step_by_hand() -> None:
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
