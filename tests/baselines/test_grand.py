"""GraNd: scores by hand, and against single examples with `torch.func`."""

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
from tests.helpers.methods import (
    TwoExamples,
    begin,
    constant_network,
)


def test_unit_score_is_the_mean_gradient_norm() -> None:
    pruner = begin(Grand(samples=2), constant_network(), probe=TwoExamples())
    scores = pruner.unit_scores()
    channels = torch.tensor([(3 + 2) / 2, (6 + 4) / 2])  # sqrt(9), sqrt(4); sqrt(36), sqrt(16)
    torch.testing.assert_close(scores["conv1"], channels / channels.mean())
    neurons = torch.tensor([20**0.5 / 2, 5 / 2])
    torch.testing.assert_close(scores["fc1"], neurons / neurons.mean())


def test_weight_score_is_the_mean_gradient_magnitude() -> None:
    net = constant_network()
    with torch.no_grad():
        net.get_parameter("fc1.weight")[1, 0] = 0
    scores = begin(Grand(samples=2), net, "unstructured", TwoExamples()).weight_scores()
    assert set(scores) == {"conv1", "fc1"}
    assert scores["conv1"][:, 0, 0, 0].tolist() == [0.5, 1]
    assert scores["fc1"][0].tolist() == 4 * [0.5] + 4 * [1]
    assert scores["fc1"][1].tolist() == [-torch.inf] + 7 * [0], "pruned weights stay pruned"


def test_unit_scores_match_one_sample_at_a_time() -> None:
    net = constant_network("snn", weight=0)
    draw = torch.Generator().manual_seed(0)
    split = Split(torch.randn(6, 1, 2, 2, generator=draw), torch.arange(6) % 3)
    probe = NetworkProbe(net, split, 4, BudgetMeter(100), draw)
    pruner = begin(Grand(samples=6), net, probe=probe)
    draw.manual_seed(1)
    found = pruner.unit_scores()["fc1"]
    draw.manual_seed(1)
    wanted = torch.zeros(2)
    for batch in probe.batches(6):
        gradients = dict(probe.per_example(*batch))
        for b in range(len(batch[1])):
            rows, columns = gradients["fc1"][b], gradients["readout"][b]
            for unit in range(2):
                wanted[unit] += torch.cat([rows[unit], columns[:, unit]]).norm()
    torch.testing.assert_close(found, wanted / wanted.mean())


STEPS, SAMPLES, BETA = 3, 6, 0.5

Parameters = dict[str, Tensor]

Statistics = dict[str, tuple[Tensor, Tensor]]


def emit(kind: str, current: Tensor) -> Tensor:
    """ReLU outputs, or spikes of leaky neurons at each time step, [T, B, ...]."""
    if kind == "ann":
        return current.relu()
    spikes, membrane = [], torch.zeros_like(current[0])
    for now in current.expand(STEPS, *current.shape[1:]):
        fired = (membrane > 1).to(now)
        membrane = BETA * membrane * (1 - fired) + now
        smooth = (
            torch.atan(math.pi * (membrane - 1)) / math.pi
        )  # the integral of the surrogate gradient
        spikes.append((membrane > 1).to(now) + smooth - smooth.detach())
    return torch.stack(spikes)


def scores(kind: str, p: Parameters, x: Tensor, known: Statistics, found: Statistics) -> Tensor:
    """Class scores [B, 3] of images [B, 1, 2, 2].

    Batch norm uses the statistics in `known`; missing ones are computed and stored in `found`.
    """

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
def test_scores_match_torch_func(kind: str) -> None:
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


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="samples"):
        Grand(samples=0)
