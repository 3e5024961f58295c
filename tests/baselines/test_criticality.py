"""Criticality: what magnitude keeps, and what regenerates."""

from __future__ import annotations

import pytest
import torch

from baselines.criticality import Criticality
from tests.helpers.methods import begin, constant_network


def test_pruned_weights_of_critical_outputs_regenerate() -> None:
    net = constant_network("snn", layout="2C3-4FC")  # 18 and 32 weights
    pruner = begin(Criticality(start=0.0, stop=0.5, regeneration=0.2), net, "unstructured")
    with torch.no_grad():
        for weight in pruner.layer_weights().values():
            weight.zero_()
        pruner.layer_weights()["fc1"][0] = torch.arange(8.0) + 1  # neuron 0
        pruner.layer_weights()["fc1"][1] = torch.arange(8.0) + 10
        pruner.layer_weights()["fc1"][2] = torch.arange(8.0) + 20
    pruner.critical = {"conv1": torch.tensor([0.1, 0.2]), "fc1": torch.tensor([0.3, 0.0, 0.0, 0.9])}
    masks = pruner.masks(0.5)
    # Half of 50 weights: 20 by magnitude (16 of neurons 1 and 2, 4 of neuron 0), and 5 of the
    # most critical neuron 3, whose weights are zero.
    assert masks.parameters["fc1.weight"].sum(1).tolist() == [4, 8, 8, 5]
    assert int(masks.parameters["conv1.weight"].sum()) == 0
    assert masks.parameters["fc1.weight"][0].tolist() == [False] * 4 + [True] * 4


def test_critical_units_regenerate_before_they_lose_their_weights() -> None:
    net = constant_network("snn", layout="10FC-2FC", weight=1.0)
    with torch.no_grad():
        net.get_parameter("fc1.weight").mul_(torch.arange(10, 0, -1.0).view(-1, 1))
    pruner = begin(Criticality(start=0.0, stop=0.5, regeneration=0.4), net)
    # Unit 9 is the smallest and the most critical.
    pruner.critical = {"fc1": torch.arange(10) / 10, "fc2": torch.tensor([0.5, 0.4])}
    masks = pruner.masks(0.5)
    # 30 of 60 weights: six units of fc1 with 4 inputs each, and one of fc2 that reads them. By
    # magnitude 18 would stay; four units and one of fc2 have 20, three would have 15.
    assert masks.units["fc1"].nonzero().flatten().tolist() == [0, 1, 2, 3, 8, 9]
    assert int(masks.units["fc2"].sum()) == 1


def test_the_share_of_regenerated_weights_is_zero_without_regeneration() -> None:
    net = constant_network("snn", layout="2C3-4FC")
    pruner = begin(Criticality(start=0.0, stop=0.5, regeneration=0.0), net, "unstructured")
    assert pruner.masks(0.5) is None, "no potential was measured"
    pruner.critical = {"conv1": torch.ones(2), "fc1": torch.ones(4)}
    with torch.no_grad():
        pruner.layer_weights()["conv1"].zero_()
    masks = pruner.masks(0.5)
    assert int(masks.parameters["conv1.weight"].sum()) == 0
    assert int(masks.parameters["fc1.weight"].sum()) == 25


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="regeneration"):
        Criticality(regeneration=1.0)
