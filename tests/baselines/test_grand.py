"""GraNd against a loop over single examples with `torch.func`, on a network written out here."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from baselines.grand import Grand
from pipelines.data.splits import Split
from pipelines.settings.network import NetworkSpec
from pipelines.training.budget import BudgetMeter
from pipelines.training.cell import build_network
from pipelines.training.probe import NetworkProbe
from tests.baselines.test_saliency_structured import begin

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
    probe = NetworkProbe(net, Split(inputs, labels), SAMPLES, BudgetMeter(100), draw)

    parameters = {n: p.detach() for n, p in net.named_parameters() if "neuron" not in n}
    statistics: Statistics = {}
    scores(kind, parameters, inputs, {}, statistics)

    def loss(p: Parameters, x: Tensor, label: Tensor) -> Tensor:
        return functional.cross_entropy(scores(kind, p, x[None], statistics, {}), label[None])

    each = [
        torch.func.grad(loss)(parameters, x, label) for x, label in zip(inputs, labels, strict=True)
    ]

    def norm(*owned: Tensor) -> Tensor:
        return torch.cat([part.flatten() for part in owned]).norm()

    expected = {
        "conv1": [  # a filter, and the columns that read its four pixels
            [norm(g["conv1.weight"][i], g["fc1.weight"][:, 4 * i : 4 * i + 4]) for g in each]
            for i in range(2)
        ],
        "fc1": [  # a row, and the readout's column
            [norm(g["fc1.weight"][i], g["readout.weight"][:, i]) for g in each] for i in range(2)
        ],
    }
    units = begin(Grand(samples=SAMPLES), net, "structured", probe).unit_scores()
    for name, norms in expected.items():
        wanted = torch.tensor(norms, dtype=torch.float64).mean(1)
        assert wanted.min() > 0
        torch.testing.assert_close(units[name], wanted / wanted.mean(), check_dtype=False)
    weights = begin(Grand(samples=SAMPLES), net, "unstructured", probe).weight_scores()
    for name in ("conv1", "fc1"):
        wanted = torch.stack([g[f"{name}.weight"].abs() for g in each]).mean(0)
        torch.testing.assert_close(weights[name], wanted)
