"""Event-driven inference of one sample against the ordinary one, dense and pruned."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch
from torch import Tensor

from pipelines.inference.event_driven import EventDriven
from pipelines.kernels.cpu import event_layers
from pipelines.networks.network import Network
from tests.perf.networks import Race, Size

SHAPE = Size("32C3-MP2-64C3-MP2-128FC", (1, 28, 28), 32, steps=2)  # fashion-snn
#: Share of the inputs of each layer that are spikes in the trained dense network of `fashion-snn`
#: (seed 0, 91.9 % test accuracy): its SynOps over those of inputs that are all spikes.
RATES = {"conv2": 0.138, "fc1": 0.205, "readout": 0.29}
#: Layer densities of an unstructured density of 0.05, as magnitude criteria leave them: nearly all
#: of the first layer, few weights of the linear layer.
DENSITIES = {"conv1": 0.8, "conv2": 0.15, "fc1": 0.045}
DENSE = "dense, ordinary"


def network(inputs: Tensor, densities: dict[str, float]) -> Network:
    """An untrained network of these layer densities, whose layers send spikes at `RATES`.

    The shift of batch norm decides how often the units of a layer fire. It is found by bisection,
    one layer after the other, with the batch statistics of the inputs.
    """
    built = SHAPE.network(plan="fused")
    draw = torch.Generator().manual_seed(1)
    state = built.state_dict()
    for name, density in densities.items():
        weight = state[f"{name}.weight"]
        weight.mul_(torch.rand(weight.shape, generator=draw) < density)
    for stage, reader in zip(built.stages, RATES, strict=True):
        low, high = -4.0, 4.0
        for _ in range(14):
            shift = (low + high) / 2
            state[f"{stage.name}_norm.bias"].fill_(shift)
            with torch.no_grad():
                received = built.train().run(inputs)[1][reader][0]
            low, high = (shift, high) if received.mean() < RATES[reader] else (low, shift)
    with torch.no_grad():
        for _ in range(40):  # until the running statistics are those of the inputs
            built(inputs)
    return built.eval()


def test_inference_of_one_sample(race: Race, benchmark: Any) -> None:
    if not event_layers.available():
        pytest.skip("needs a C compiler")
    benchmark.group = "inference of one sample, fashion-snn, unstructured density 0.05"
    inputs = SHAPE.inputs()
    one = inputs[:1]
    nets = {"dense": network(inputs, {}), "density 0.05": network(inputs, DENSITIES)}
    contenders = {}
    for name, net in nets.items():
        events = EventDriven(net)
        benchmark.extra_info[f"SynOps, {name}"] = sum(events(one[0])[1].values())
        contenders[f"{name}, ordinary"] = torch.no_grad()(lambda net=net: net(one))
        contenders[f"{name}, by events"] = lambda events=events: events(one[0])
    race(contenders, reference=DENSE, rounds=400, warmup=20, clock=time.process_time)
