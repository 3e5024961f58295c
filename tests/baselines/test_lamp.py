"""LAMP scores, by hand."""

from __future__ import annotations

import pytest
import torch

from baselines.lamp import Lamp
from tests.helpers.methods import (
    begin,
    constant_network,
)


def test_weight_scores() -> None:
    net = constant_network()
    with torch.no_grad():
        net.get_parameter("conv1.weight")[:] = 0
        net.get_parameter("conv1.weight").view(-1)[:3] = torch.tensor([1.0, -2.0, 3.0])
    scores = begin(Lamp(), net, "unstructured").weight_scores()["conv1"].flatten()
    assert scores[:4].tolist() == pytest.approx([1 / 14, 4 / 13, 1.0, 0.0])


def test_unit_scores() -> None:
    net = constant_network(weight=1.0)
    with torch.no_grad():
        net.get_parameter("conv1.weight")[0] = 0
        net.get_parameter("fc1.weight")[:, :4] = 0
    # squared norms: 0 + 1 + 0, and 9 + 1 + 8
    scores = begin(Lamp(), net).unit_scores()["conv1"]
    assert scores.tolist() == pytest.approx([1 / 19, 1.0])
