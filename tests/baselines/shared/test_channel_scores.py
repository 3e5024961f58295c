"""Membrane potentials against stepping, and gradients of scales against autograd."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from baselines.shared.activity import Activity
from baselines.shared.channel_scores import criticalities, mean_potentials, scale_gradients
from pipelines.data.splits import Split
from pipelines.networks.plans.folded import Folded
from pipelines.networks.stages import Stage
from pipelines.settings.network import NetworkSpec
from pipelines.training.budget import BudgetMeter
from pipelines.training.cell import build_structure
from pipelines.training.probe import NetworkProbe
from tests.helpers.methods import (
    constant_network,
)


class Watched(Folded):
    """The plan ``folded``, which also keeps the input currents of the neurons."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__(spec)
        self.currents: dict[str, Tensor] = {}

    def fire(self, stage: Stage, current: Tensor) -> Tensor:
        self.currents[stage.name] = current.detach().clone()
        return super().fire(stage, current)


def test_potentials_of_a_residual_network() -> None:
    """Compare with the recorded input currents of the neurons, in a group of several layers."""
    net = constant_network("snn", layout="3C3-[2C3-3C3]-[4C1]P-[3C1-4C3]", weight=0).train()
    watched = Watched(net.spec)
    net.use(watched)
    draw = torch.Generator().manual_seed(0)
    activity = Activity(net.record(torch.randn(5, 1, 2, 2, generator=draw))[1])
    found = mean_potentials(net, build_structure(net, "structured"), activity)
    wanted, currents = {}, watched.currents
    for stage in net.stages:
        membrane, total = torch.zeros(()), torch.zeros(len(currents[stage.name][0, 0]))
        for t in range(3):
            current = currents[stage.name][t if len(currents[stage.name]) > 1 else 0]
            _, membrane = stage.neuron(current, torch.zeros_like(current) + membrane)
            total += membrane.detach().abs().mean((0, 2, 3)) / 3
        wanted[stage.name] = total
    torch.testing.assert_close(found["conv1"], wanted["conv1"] + wanted["conv3"])
    torch.testing.assert_close(found["conv4"], wanted["conv4"] + wanted["conv6"])
    torch.testing.assert_close(found["conv2"], wanted["conv2"])


def test_potentials_match_stepping() -> None:
    net = constant_network("snn", layout="3C3", weight=0).train()
    inputs = torch.randn(5, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    found = mean_potentials(
        net, build_structure(net, "structured"), Activity(net.record(inputs)[1])
    )
    states: dict[str, tuple[Tensor, ...]] = {}
    total = torch.zeros(3)
    for _ in range(3):  # the input is static, so batch norm per step equals that over all steps
        net.step(inputs, states)
        total += states["conv1"][0].detach().abs().mean((0, 2, 3)) / 3
    torch.testing.assert_close(found["conv1"], total)


def test_pruned_units_have_scale_gradients() -> None:
    net = constant_network("snn", weight=0).train()
    draw = torch.Generator().manual_seed(0)
    split = Split(torch.randn(4, 1, 2, 2, generator=draw), torch.arange(4) % 3)
    probe = NetworkProbe(net, split, 4, BudgetMeter(4), draw)
    structure = build_structure(net, "structured")
    values = {n: p.detach().clone() for n, p in net.named_parameters()}
    masks = structure.masks({"conv1": torch.tensor([True, False]), "fc1": torch.ones(2).bool()})
    found = scale_gradients(probe, structure, values, masks, 4)
    with torch.no_grad():
        net.get_parameter("conv1_norm.weight")[1] = 0
        net.get_parameter("conv1_norm.bias")[1] = 0
    loss = nn.functional.cross_entropy(net(split.inputs), split.labels)
    scales = [net.get_parameter(f"{n}_norm.weight") for n in ("conv1", "fc1")]
    for name, gradient in zip(("conv1", "fc1"), torch.autograd.grad(loss, scales), strict=True):
        torch.testing.assert_close(found[name], gradient.abs(), rtol=1e-4, atol=1e-6)
    assert found["conv1"][1] > 0, "a pruned unit has a gradient"
    assert probe.meter.phases == {"saliency": 4}


def test_criticality_is_the_surrogate_derivative_at_the_largest_position() -> None:
    net = constant_network("snn", layout="1C1-1FC", weight=1.0).train()
    with torch.no_grad():
        net.get_parameter("conv1_norm.weight").fill_(0.5)
        net.get_parameter("conv1_norm.bias").fill_(0.25)
    # Batch norm turns the two halves of the image into -1 and 1, so the currents are -0.25, 0.75.
    image = torch.tensor([[[[-3.0, -3.0], [3.0, 3.0]]]])
    found = criticalities(net, Activity(net.record(image)[1]))
    # beta is 0.5: without spikes the upper potential is 0.75, then 1.125, above the threshold 1.
    # It is reset to 0 before the next step: 0.75.
    assert net.spec.beta == 0.5
    derivatives = [1 / (1 + (math.pi * d) ** 2) for d in (0.25, 0.125, 0.25)]
    assert found["conv1"].tolist() == pytest.approx([sum(derivatives) / 3], rel=1e-4)
