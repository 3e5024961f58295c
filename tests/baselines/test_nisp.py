"""Importances that are propagated from the readout, by hand."""

from __future__ import annotations

import torch
from torch import Tensor

from baselines.nisp import Nisp, importances
from pipelines.networks.network import Network
from tests.helpers.methods import begin, constant_network


def _weights(net: Network) -> dict[str, Tensor]:
    return {name: p.detach() for name, p in net.named_parameters() if p.dim() > 1}


def test_importance_passes_through_a_linear_layer_to_channels() -> None:
    net = constant_network()  # two channels of 2 x 2, two neurons, three classes; weights 2
    with torch.no_grad():
        net.get_parameter("readout.weight")[:, 0] = torch.tensor([1.0, -2.0, 0.0])
        net.get_parameter("fc1.weight")[0, :4] = -1
        net.get_parameter("fc1.weight")[1, 4:] = 0
    pruner = begin(Nisp(), net)
    found = importances(pruner.context.structure, _weights(net))
    assert found["fc1"].tolist() == [3, 6]
    # Channel 0: 4 positions, by neuron 0 with weight 1 and by neuron 1 with weight 2.
    assert found["conv1"].tolist() == [4 * (1 * 3 + 2 * 6), 4 * (2 * 3 + 0 * 6)]
    assert pruner.unit_scores()["fc1"].tolist() == [3 / 4.5, 6 / 4.5]


def test_importance_sums_over_both_readers_of_a_residual_block() -> None:
    net = constant_network("snn", layout="2C1-[2C1-2C1]-GAP", weight=1.0)
    with torch.no_grad():
        net.get_parameter("conv2.weight")[:, 1] = 0
    structure = begin(Nisp(), net).context.structure
    found = importances(structure, _weights(net))
    # The readout passes 3 to both channels of the sum of conv1 and conv3. conv3 passes 3 + 3 to
    # the channels of conv2, and conv2 passes 6 + 6 to the first channel of conv1.
    assert found["conv2"].tolist() == [6, 6]
    assert found["conv1"].tolist() == [3 + 12, 3]
