"""Start a method on a small network whose scores can be worked out by hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from baselines.shared.contract import PruneContext, Pruner
from baselines.shared.gradual_pruner import GradualPruner
from baselines.shared.masks import Masks
from pipelines.data.splits import Split
from pipelines.networks.network import Network
from pipelines.settings.network import NetworkSpec
from pipelines.training.budget import BudgetMeter
from pipelines.training.cell import build_network, build_structure
from pipelines.training.probe import NetworkProbe


def constant_network(kind: str = "ann", layout: str = "2C3-2FC", weight: float = 2.0) -> Network:
    """A network of two channels of 2 x 2, two neurons and three classes.

    All weights equal `weight` (0: random weights); batch norm scales are 1 and shifts 0.
    """
    net = build_network(NetworkSpec(kind=kind, layout=layout, time_steps=3), (1, 2, 2), 3, 0)
    for parameter in net.parameters():
        if parameter.dim() > 1 and weight:
            nn.init.constant_(parameter, weight)
    return net


def begin(pruner: Any, net: Network, granularity: str = "structured", probe: Any = None) -> Any:
    """Begin a run at density 0.5 and return the method."""
    draw = torch.Generator().manual_seed(0)
    structure = build_structure(net, granularity)
    pruner.begin(net, PruneContext(structure, granularity, 0.5, draw, net.steps, probe))  # type: ignore[arg-type]
    assert isinstance(pruner, Pruner)
    return pruner


class TwoExamples:
    """A probe of two examples with given gradients."""

    def __init__(self) -> None:
        self.conv, self.fc, self.readout = (
            torch.zeros(2, *s) for s in [(2, 1, 3, 3), (2, 8), (3, 2)]
        )
        self.conv[0, 0], self.conv[0, 1] = 1, 2  # example 0: gradients of the filters
        self.readout[0, :, 1] = torch.tensor([3.0, 4.0, 0.0])  # and of the columns of neuron 1
        self.fc[1, 0, :4], self.fc[1, 0, 4:] = 1, -2  # example 1: gradients of a row

    def batches(self, samples: int) -> Iterator[tuple[Tensor, Tensor]]:
        for half in range(2):
            yield torch.zeros(1), torch.tensor([half])

    def per_example(self, inputs: Tensor, labels: Tensor) -> Iterator[tuple[str, Tensor]]:
        for name, gradient in [("conv1", self.conv), ("fc1", self.fc), ("readout", self.readout)]:
            yield name, gradient[labels].clone()


LAYOUT = "4C3-MP2-6C3-10FC"


def begin_with_probe(
    pruner: GradualPruner, density: float, layout: str = LAYOUT, kind: str = "ann", samples: int = 8
) -> tuple[Network, NetworkProbe]:
    """Begin a method on a small network, whose training split has `samples` samples."""
    net = build_network(NetworkSpec(kind=kind, layout=layout, time_steps=2), (1, 4, 4), 3, 0)
    draw = torch.Generator().manual_seed(0)
    split = Split(torch.randn(samples, 1, 4, 4, generator=draw), torch.arange(samples) % 3)
    probe = NetworkProbe(net, split, samples, BudgetMeter(1000), draw)
    structure = build_structure(net, "unstructured")
    pruner.begin(net, PruneContext(structure, "unstructured", density, draw, net.steps, probe))
    return net, probe


def initial_masks(pruner: GradualPruner) -> dict[str, Tensor]:
    """Return the masks that a method sets before training, by parameter name."""
    masks = pruner.masks(0.0)
    assert isinstance(masks, Masks)
    return dict(masks.parameters)


class _Quadratic:
    """A probe whose loss is a quadratic form of two weights, and does not depend on samples."""

    def __init__(self, weight: nn.Parameter, matrix: Tensor) -> None:
        self.weight, self.matrix = weight, matrix

    def batches(self, samples: int) -> list[tuple[Tensor, Tensor]]:
        return [(torch.ones(1), torch.zeros(1, dtype=torch.long))] * samples

    def loss(self, inputs: Tensor, labels: Tensor, **_: object) -> Tensor:
        w = self.weight.flatten()
        return 0.5 * w @ self.matrix @ w


def quadratic_scores(
    pruner: GradualPruner, weight: list[float], matrix: list[list[float]]
) -> Tensor:
    """Return the scores of two weights under a quadratic loss with a given Hessian."""
    net = build_network(NetworkSpec(kind="ann", layout="1FC"), (1, 1, 2), 2, 0)
    structure, draw = build_structure(net, "unstructured"), torch.Generator()
    with torch.no_grad():
        net.get_parameter("fc1.weight").copy_(torch.tensor([weight]))
    probe = _Quadratic(net.get_parameter("fc1.weight"), torch.tensor(matrix))
    pruner.begin(net, PruneContext(structure, "unstructured", 0.5, draw, 1, probe))  # type: ignore[arg-type]
    return pruner.weight_scores()["fc1"].flatten()
