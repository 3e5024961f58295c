"""Magnitude pruning, by hand."""

from __future__ import annotations

import torch

from baselines.magnitude import Magnitude
from tests.helpers.methods import (
    begin_with_probe,
    initial_masks,
)


def test_largest_weights_are_kept() -> None:
    pruner = Magnitude(start=0.0, stop=0.0)
    net, _ = begin_with_probe(pruner, 0.4, "1C1-AP2-1FC")  # keeps 2 of 1 + 4 weights
    with torch.no_grad():
        net.get_parameter("conv1.weight").fill_(0.5)
        net.get_parameter("fc1.weight").copy_(torch.tensor([[0.1, -0.7, 0.3, 0.4]]))
    assert {n: m.flatten().tolist() for n, m in initial_masks(pruner).items()} == {
        "conv1.weight": [True],
        "fc1.weight": [False, True, False, False],
    }
