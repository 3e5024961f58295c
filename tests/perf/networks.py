"""What the races run and how they count; networks in our plans and as others write them."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import quantiles
from typing import Any

import snntorch as snn
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipelines.kernels import bfloat16
from pipelines.networks.network import Network
from pipelines.settings.network import Execution, NetworkSpec
from pipelines.training.cell import build_network
from pipelines.training.graph_replay import ForwardPass

Race = Callable[..., None]
STEP = "snnTorch, step by step"


def compare(times: Mapping[str, list[float]], reference: str) -> dict[str, Any]:
    """Quartiles of the times, and of the reference's over them round by round; their share."""
    base = times[reference]
    return {
        name: {
            "milliseconds": _quartiles([1000 * t for t in series]),
            "ratio": _quartiles([a / b for a, b in zip(base, series, strict=True)]),
            "share": sum(series) / sum(base),
        }
        for name, series in times.items()
    }


def _quartiles(values: list[float]) -> list[float]:
    return quantiles(values, n=4, method="inclusive") if len(values) > 1 else 3 * values


def turns(
    contenders: Mapping[str, Callable[[], object]],
    times: Mapping[str, list[float]],
    clock: Callable[[], float] = time.perf_counter,
) -> Callable[[], None]:
    """A round, in which each runs once and gets its time; nobody always comes first."""
    names = list(contenders)

    def once() -> None:
        for name in names:
            start = clock()
            contenders[name]()
            times[name].append(clock() - start)
        names.append(names.pop(0))

    return once


@dataclass(frozen=True)
class Size:
    """A network, its input, and a batch."""

    layout: str
    shape: tuple[int, int, int]
    batch: int
    steps: int = 4

    def network(self, **execution: Any) -> Network:
        spec = NetworkSpec(kind="snn", layout=self.layout, time_steps=self.steps)
        return build_network(spec, self.shape, 10, 0, Execution(**execution))

    def inputs(self) -> Tensor:
        return torch.randn(self.batch, *self.shape, generator=torch.Generator().manual_seed(0))


SIZES = {
    "digits": Size("16C3-MP2-32C3-MP2-64FC", (1, 8, 8), 64),
    "fashion": Size("16C3-32C3-MP2-32C3-64C3-MP2-128FC", (1, 28, 28), 64),
    "6Conv2FC": Size("128C3-128C3-MP2-256C3-256C3-MP2-512C3-512C3-512FC", (3, 32, 32), 8),
}


def training_step(
    network: nn.Module, inputs: Tensor, run: Callable[[Tensor], Tensor] | None = None
) -> Callable[[], None]:
    """Forward and backward of one batch."""
    labels = torch.arange(len(inputs), device=inputs.device) % 10
    run, parameters = run or network, list(network.parameters())

    def step() -> None:
        for parameter in parameters:  # as an optimizer does it
            parameter.grad = None
        functional.cross_entropy(run(inputs), labels).backward()

    return step


class Tutorial(nn.Module):
    """The loop of snnTorch's tutorials: layers called step by step, spikes stacked at the end."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.steps = network.steps
        self.layers = nn.ModuleList()
        for stage in network.stages:
            neuron = snn.Leaky(beta=0.5, learn_beta=True, reset_mechanism="zero")
            flatten = nn.Flatten() if isinstance(stage.weights, nn.Linear) else nn.Identity()
            parts = (flatten, stage.weights, stage.norm, neuron, stage.pool)
            self.layers.append(nn.ModuleList(parts))
        self.readout = network.readout

    def forward(self, x: Tensor) -> Tensor:
        membranes = [parts[3].init_leaky() for parts in self.layers]
        record = []
        for _ in range(self.steps):
            now = x
            for i, (flatten, weights, norm, neuron, pool) in enumerate(self.layers):
                now, membranes[i] = neuron(norm(weights(flatten(now))), membranes[i])
                now = pool(now)
            record.append(self.readout(now.flatten(1)))
        return torch.stack(record).mean(0)


def spikingjelly(network: Network, backend: str = "torch") -> nn.Module | None:
    """The same layers in SpikingJelly's multi-step mode; None if it is not installed."""
    needed = ("spikingjelly", "cupy") if backend == "cupy" else ("spikingjelly",)
    if any(importlib.util.find_spec(name) is None for name in needed):
        return None
    from spikingjelly.activation_based import functional as jelly
    from spikingjelly.activation_based import layer, neuron, surrogate

    parts: list[nn.Module] = []
    for stage in network.stages:
        flatten = isinstance(stage.weights, nn.Linear)
        modules = (nn.Flatten(), stage.weights) if flatten else (stage.weights,)
        parts += [layer.SeqToANNContainer(*modules, stage.norm)]
        parts += [
            neuron.ParametricLIFNode(
                init_tau=2.0, decay_input=False, v_threshold=1.0, v_reset=0.0,
                surrogate_function=surrogate.ATan(), detach_reset=True, step_mode="m",
                backend=backend,
            )
        ]  # fmt: skip
        if not isinstance(stage.pool, nn.Identity):
            parts += [layer.SeqToANNContainer(stage.pool)]
    body = nn.Sequential(*parts)
    steps, readout = network.steps, network.readout

    class Jelly(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.readout = body, readout

        def forward(self, x: Tensor) -> Tensor:
            jelly.reset_net(self.body)
            x = x.unsqueeze(0).repeat(steps, 1, 1, 1, 1)
            return self.readout(self.body(x).flatten(2).mean(0))

    return Jelly()


def floor(network: Network, inputs: Tensor) -> Callable[[], None]:
    """Forward and backward of the convolutions and linear layers alone, on recorded inputs."""
    activity = network.run(inputs)[1]
    jobs = []
    for i, stage in enumerate(network.stages):
        x = activity[stage.name][0].detach()
        if isinstance(stage.weights, nn.Linear):
            x = x.flatten(2)
        x = x.flatten(0, 1).clone(memory_format=torch.preserve_format).requires_grad_(i > 0)
        jobs.append((stage.weights, x, torch.randn_like(stage.weights(x))))

    def step() -> None:
        for weights, x, gradient in jobs:
            weights.weight.grad = x.grad = None
            weights(x).backward(gradient)

    return step


def contenders(shape: Size, device: torch.device, *, fused: bool) -> dict[str, Callable[[], None]]:
    """Training steps of one batch: our plans, other people's loops, and the floor."""
    inputs = shape.inputs().to(device)

    def network(**execution: Any) -> Network:
        return shape.network(**execution).to(device)

    plans: dict[str, dict[str, str]] = {
        STEP: {"plan": "step"},
        "folded": {},
    }
    if fused:
        plans["fused"] = {"plan": "fused"}
    plans |= {
        f"{n}, bfloat16": p | {"precision": "bfloat16"} for n, p in plans.items() if n != STEP
    }
    found = {name: training_step(network(**execution), inputs) for name, execution in plans.items()}
    found["snnTorch, tutorial loop"] = training_step(Tutorial(network()).to(device), inputs)
    if (jelly := spikingjelly(network())) is not None:
        found["SpikingJelly, multi-step"] = training_step(jelly.to(device), inputs)
    bare = floor(network(), inputs)
    found["convolutions and linear layers alone"] = bare

    def half() -> None:
        with bfloat16.autocast(device):
            bare()

    found["the same in bfloat16"] = half
    if device.type == "cuda":
        stepped = network(plan="step", precision="bfloat16")
        found[f"{STEP}, bfloat16"] = training_step(stepped, inputs)
        if (jelly := spikingjelly(network(), "cupy")) is not None:
            found["SpikingJelly, multi-step, CuPy"] = training_step(jelly.to(device), inputs)
        for name, execution in plans.items():
            if name != STEP:
                found[f"{name}, replayed"] = replayed(network(**execution), inputs)
    return found


def replayed(network: Network, inputs: Tensor) -> Callable[[], None]:
    """A training step as a run has it on a GPU: as a CUDA graph."""
    labels = torch.arange(len(inputs), device=inputs.device) % 10
    ahead = ForwardPass("cross-entropy")

    def step() -> None:
        network.zero_grad()
        ahead(network, inputs, labels)[0].backward()

    return step
