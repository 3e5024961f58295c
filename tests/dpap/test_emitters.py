"""Emitters: which neuron module emits the output of each layer."""

from __future__ import annotations

from typing import Any

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
)


def find_emitters(network: nn.Module, readout: str, x: Tensor) -> dict[str, Emitter]:
    kinds = (nn.Conv2d, nn.Linear)
    names = [n for n, m in network.named_modules() if isinstance(m, kinds) and n != readout]
    with undisturbed(network):
        found = emitters(network, names, lambda: network(x))
    return {name: places[0] for name, places in found.items()}


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


def test_a_layer_without_a_neuron_module_is_seen_by_its_reader() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(4, 5)
            self.hidden = nn.Linear(5, 5)
            self.relu = nn.ReLU()
            self.readout = nn.Linear(5, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.readout(self.relu(self.hidden(functional.relu(self.first(x)))))

    network, x = Functional(), torch.randn(3, 4)
    once = frozenset({0})
    assert find_emitters(network, "readout", x) == {
        "first": Emitter("hidden", once, 1, reads=True),
        "hidden": Emitter("relu", once, 1),
    }
    handle = attach(network, DPAP(), example=x, readout="readout")
    seen: list[Any] = []
    handle.pruner.observe = seen.append  # type: ignore[method-assign]
    network(x)
    handle.update(0.1)
    wanted = functional.relu(network.first(x)).detach()
    torch.testing.assert_close(seen[0]["first"][1][0], wanted)


def test_declared_neurons() -> None:
    class Step(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x > 0).float()

    network = nn.Sequential(nn.Linear(4, 6), Step(), nn.Linear(6, 2))
    x = torch.randn(1, 4)
    with undisturbed(network):
        by_type = emitters(network, ["0"], lambda: network(x), (Step,))
        by_path = emitters(network, ["0"], lambda: network(x), ("1",))
    assert by_type["0"][0] == by_path["0"][0] == Emitter("1", frozenset({0}), 1)
