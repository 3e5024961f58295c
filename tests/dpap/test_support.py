"""Trophic support on networks whose shares are worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from baselines.shared.groups import Structure
from dpap.support import shares, trophic_support
from pipelines.networks.initial import build_network, build_structure
from pipelines.settings.network import NetworkSpec


def structure_of(layout: str, size: int = 2) -> Structure:
    """The structure of a network with inputs of one channel and three classes."""
    spec = NetworkSpec(kind="snn", layout=layout, time_steps=2)
    return build_structure(build_network(spec, (1, size, size), 3, seed=0), "structured")


def columns(values: list[list[float]], repeat: int) -> Tensor:
    """Weights of a linear layer that reads maps: each channel has `repeat` equal columns."""
    return torch.tensor(values).repeat_interleave(repeat, 1)


#: Two neurons; neuron 0 has rate 3 and neuron 1 rate 1.
READOUT = {
    "weight": torch.tensor([[1.0, 1.0], [-2.0, 0.0], [0.0, 3.0]]),
    "activity": torch.tensor([3.0, 1.0]),
}


def test_shares_weigh_squared_weights_by_activity() -> None:
    # Row 0: drives 3 and 1. Row 1 reads only input 0. Row 2 reads nothing.
    weight = torch.tensor([[1.0, -1.0], [2.0, 0.0], [0.0, 0.0]])
    expected = torch.tensor([[0.75, 0.25], [1.0, 0.0], [0.0, 0.0]])
    assert torch.equal(shares(weight, torch.tensor([3.0, 1.0])), expected)


def test_shares_of_a_convolution_sum_over_the_kernel() -> None:
    weight = torch.zeros(1, 2, 3, 3)
    weight[0, 0, 1, 1] = 2.0  # 4
    weight[0, 1, 0] = 2.0  # 3 entries: 12
    found = shares(weight, torch.tensor([1.0, 1.0]))
    assert torch.equal(found, torch.tensor([[0.25, 0.75]]))


def test_a_silent_input_has_no_share() -> None:
    found = shares(torch.ones(1, 2), torch.tensor([0.0, 0.5]))
    assert torch.equal(found, torch.tensor([[0.0, 1.0]]))


def test_support_passes_from_the_readout_through_flattened_maps() -> None:
    # The readout shares its classes as 0.75 + 1 + 0 and 0.25 + 0 + 1.
    # fc1 reads two channels of four places. Neuron 0: drives 4 x 1 and 4 x 3. Neuron 1: channel 1.
    found = trophic_support(
        structure_of("2C3-2FC"),
        {
            "conv1": torch.ones(2, 1, 3, 3),
            "fc1": columns([[1.0, 1.0], [0.0, 5.0]], 4),
            "readout": READOUT["weight"],
        },
        {
            "conv1": torch.ones(1),
            "fc1": torch.tensor([1.0, 3.0]).repeat_interleave(4),
            "readout": READOUT["activity"],
        },
    )
    assert found.units["fc1"].tolist() == [1.75, 1.25]
    assert found.units["conv1"].tolist() == [1.75 / 4, 1.75 * 3 / 4 + 1.25]
    # A synapse has its part of the neuron's support: each place a fourth of the channel's.
    expected = columns([[1.75 / 16, 1.75 * 3 / 16], [0.0, 1.25 / 4]], 4)
    assert torch.equal(found.synapses["fc1"], expected)
    assert torch.equal(found.synapses["conv1"].sum(1), found.units["conv1"])


def test_each_layer_shares_the_number_of_classes() -> None:
    structure = structure_of("4C3-MP2-3C3-5FC-2FC", size=4)
    draw = torch.Generator().manual_seed(1)
    weights = {x.name: torch.randn(x.shape, generator=draw) for x in structure.layers}
    weights["readout"] = torch.randn(3, 2, generator=draw)
    activity = {name: torch.rand(w.shape[1], generator=draw) for name, w in weights.items()}
    found = trophic_support(structure, weights, activity)
    for total in (t.sum().item() for t in found.units.values()):
        assert total == pytest.approx(3)


def test_a_residual_sum_is_supported_by_all_layers_that_read_it() -> None:
    # conv1 makes two channels; conv2 reads them, and conv3 adds its outputs to them.
    structure = structure_of("2C3-[1C3-2C3]-2FC")
    weights = {
        "conv1": torch.ones(2, 1, 3, 3),
        "conv2": torch.ones(1, 2, 3, 3),
        "conv3": torch.ones(2, 1, 3, 3),
        "fc1": columns([[1.0, 1.0], [0.0, 5.0]], 4),
        "readout": READOUT["weight"],
    }
    activity = {
        "conv1": torch.ones(1),
        "conv2": torch.tensor([1.0, 3.0]),
        "conv3": torch.ones(1),
        "fc1": torch.tensor([1.0, 3.0]).repeat_interleave(4),
        "readout": READOUT["activity"],
    }
    found = trophic_support(structure, weights, activity)
    of_fc1 = [1.75 / 4, 1.75 * 3 / 4 + 1.25]
    # conv3 passes the support of the sum, 3, to the channel of conv2, which shares it as 1 : 3.
    assert found.units["conv2"].tolist() == [3.0]
    assert found.units["conv1"].tolist() == [of_fc1[0] + 0.75, of_fc1[1] + 2.25]
