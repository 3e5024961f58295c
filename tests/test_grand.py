"""GraNd against a loop over single examples with `torch.func`, on a network written out here."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from baselines.api import PruneContext
from baselines.grand import Grand
from pipelines.core.budget import Budget, BudgetMeter
from pipelines.core.cell import build_network, build_structure
from pipelines.core.data.splits import Split
from pipelines.core.layouts import NetworkSpec
from pipelines.core.probe import NetworkProbe

STEPS, SAMPLES, BETA = 3, 6, 0.5
Parameters = dict[str, Tensor]
Statistics = dict[str, tuple[Tensor, Tensor]]


def emit(kind: str, current: Tensor) -> Tensor:
    """Rates of ReLU, or spikes of leaky neurons at each step, [T, B, ...]."""
    if kind == "ann":
        return current.relu()
    spikes, membrane = [], torch.zeros_like(current[0])
    for now in current.expand(STEPS, *current.shape[1:]):
        fired = (membrane > 1).to(now)
        membrane = BETA * membrane * (1 - fired) + now
        smooth = torch.atan(math.pi * (membrane - 1)) / math.pi  # the surrogate's primitive
        spikes.append((membrane > 1).to(now) + smooth - smooth.detach())
    return torch.stack(spikes)


def scores(kind: str, p: Parameters, x: Tensor, known: Statistics, found: Statistics) -> Tensor:
    """Class scores [B, 3] of images [B, 1, 2, 2]; unknown batch norm statistics go to `found`."""

    def normalise(name: str, y: Tensor) -> Tensor:
        dims = [d for d in range(y.dim()) if d != 2]
        variance, mean = known.get(name) or torch.var_mean(y, dims, correction=0)
        found[name] = variance, mean
        shape = [1, 1, -1] + [1] * (y.dim() - 3)
        y = (y - mean.view(shape)) / (variance.view(shape) + 1e-5).sqrt()
        return y * p[f"{name}.weight"].view(shape) + p[f"{name}.bias"].view(shape)

    maps = functional.conv2d(x, p["conv1.weight"], padding=1).unsqueeze(0)
    sent = emit(kind, normalise("conv1_norm", maps))
    sent = emit(kind, normalise("fc1_norm", sent.flatten(2) @ p["fc1.weight"].T))
    return sent.mean(0) @ p["readout.weight"].T + p["readout.bias"]


@pytest.mark.usefixtures("snntorch_in_float64")
@pytest.mark.parametrize("kind", ["snn", "ann"])
def test_grand_against_torch_func(kind: str) -> None:
    spec = NetworkSpec(kind=kind, layout="2C3-2FC", time_steps=STEPS, beta=BETA)
    net = build_network(spec, (1, 2, 2), 3, 0).double()
    draw = torch.Generator().manual_seed(0)
    inputs = torch.randn(SAMPLES, 1, 2, 2, generator=draw, dtype=torch.float64)
    labels = torch.arange(SAMPLES) % 3
    probe = NetworkProbe(net, Split(inputs, labels), SAMPLES, BudgetMeter(Budget(100)), draw)

    parameters = {n: p.detach() for n, p in net.named_parameters() if "neuron" not in n}
    statistics: Statistics = {}
    scores(kind, parameters, inputs, {}, statistics)

    def loss(p: Parameters, x: Tensor, label: Tensor) -> Tensor:
        return functional.cross_entropy(scores(kind, p, x[None], statistics, {}), label[None])

    each = [
        torch.func.grad(loss)(parameters, x, label) for x, label in zip(inputs, labels, strict=True)
    ]
    conv = [  # a filter, and the columns that read its four pixels
        sum(
            (
                g["conv1.weight"][i].square().sum()
                + g["fc1.weight"][:, 4 * i : 4 * i + 4].square().sum()
            ).sqrt()
            for g in each
        )
        for i in range(2)
    ]
    linear = [  # a row, and the readout's column
        sum(
            (g["fc1.weight"][i].square().sum() + g["readout.weight"][:, i].square().sum()).sqrt()
            for g in each
        )
        for i in range(2)
    ]
    assert min(map(float, conv)) > 0

    units = prepared(net, "structured", probe).unit_scores()
    for name, wanted in [("conv1", torch.tensor(conv)), ("fc1", torch.tensor(linear))]:
        torch.testing.assert_close(units[name], (wanted / wanted.mean()).to(units[name]))
    weights = prepared(net, "unstructured", probe).weight_scores()
    for name in ("conv1", "fc1"):
        wanted = torch.stack([g[f"{name}.weight"].abs() for g in each]).mean(0)
        torch.testing.assert_close(weights[name], wanted)


def prepared(net: torch.nn.Module, granularity: str, probe: NetworkProbe) -> Grand:
    """Grand, begun on a network."""
    pruner = Grand(samples=SAMPLES)
    structure = build_structure(net, granularity)  # type: ignore[arg-type]
    draw = torch.Generator().manual_seed(0)
    pruner.begin(net, PruneContext(structure, granularity, 0.5, draw, STEPS, probe))  # type: ignore[arg-type]
    return pruner
