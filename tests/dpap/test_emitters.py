"""Emitters: which neuron module emits the output of each layer."""

from __future__ import annotations

import pytest
import snntorch as snn
import torch
from torch import Tensor, nn
from torch.nn import functional

from dpap import DPAP, attach
from dpap.emitters import Emitter, emitters, undisturbed
from tests.helpers.user_networks import (
    STEPS,
    Residual,
    Tutorial,
    count_hooks,
)


def find_emitters(network: nn.Module, readout: str, x: Tensor) -> dict[str, Emitter]:
    kinds = (nn.Conv2d, nn.Linear)
    names = [n for n, m in network.named_modules() if isinstance(m, kinds) and n != readout]
    with undisturbed(network):
        return emitters(network, names, lambda: network(x))


def test_residual_network() -> None:
    found = find_emitters(Residual(), "readout", torch.randn(1, 1, 8, 8))
    first, second = frozenset({0}), frozenset({1})
    assert found == {
        "stem.0": Emitter("stem.2", first, 1),
        "block1.conv1": Emitter("block1.relu", first, 2),
        "block1.conv2": Emitter("block1.relu", second, 2),
        "block2.conv1": Emitter("block2.relu", first, 2),
        "block2.conv2": Emitter("block2.relu", second, 2),
        "block2.downsample.0": Emitter("block2.relu", second, 2),
    }


def test_skip_connection_around_the_neuron() -> None:
    class PreActivation(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(1, 4, 3, padding=1)
            self.inner_neuron = snn.Leaky(0.5)
            self.inner = nn.Conv2d(4, 4, 3, padding=1)
            self.last_neuron = snn.Leaky(0.5)
            self.readout = nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            x = x + self.inner(self.inner_neuron(x)[0])
            both = torch.cat([x, functional.dropout(-x)], 1)
            return self.readout(self.last_neuron(both)[0].mean((2, 3)))

    found = find_emitters(PreActivation(), "readout", torch.randn(1, 1, 6, 6))
    assert {name: e.neuron for name, e in found.items()} == {
        "stem": "inner_neuron",  # the first neuron module that it reaches
        "inner": "last_neuron",
    }


def test_loop_over_time_inside_the_network() -> None:
    found = find_emitters(Tutorial(), "fc2", torch.randn(1, 1, 8, 8))
    every = frozenset(range(STEPS))
    assert found == {"conv1": Emitter("lif1", every, 4), "fc1": Emitter("lif2", every, 4)}


def test_a_layer_without_a_neuron_module_is_refused() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(4, 5)
            self.hidden = nn.Linear(5, 5)
            self.relu = nn.ReLU()
            self.readout = nn.Linear(5, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.readout(self.relu(self.hidden(functional.relu(self.first(x)))))

    network = Functional()
    with pytest.raises(ValueError, match=r"'first' reaches no neuron module: put nn\.ReLU, snn"):
        attach(network, DPAP(), example=torch.randn(1, 4), readout="readout")
    assert count_hooks(network) == 0


def test_neurons_with_a_parameter_per_unit_are_refused() -> None:
    network = nn.Sequential(nn.Linear(4, 6), snn.Leaky(torch.rand(6)), nn.Linear(6, 2))
    with pytest.raises(ValueError, match=r"'1\.beta' has 6 entries"):
        attach(
            network,
            DPAP(),
            example=torch.randn(1, 4),
            readout="2",
            forward=lambda net, x: net[2](net[1](net[0](x))[0]),
        )
