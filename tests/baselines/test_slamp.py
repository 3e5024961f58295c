"""SLAMP: equal to LAMP for one time step, and factors by hand."""

from __future__ import annotations

import pytest
import torch

from baselines.lamp import Lamp
from baselines.shared.activity import Activity
from baselines.shared.contract import PruneContext
from baselines.slamp import Slamp, time_factor
from pipelines.networks.initial import build_network, build_structure
from pipelines.settings.network import NetworkSpec
from tests.helpers.methods import begin, constant_network


def test_for_one_time_step_the_scores_are_those_of_lamp() -> None:
    net = build_network(NetworkSpec(kind="snn", layout="2C3-2FC", time_steps=1), (1, 2, 2), 3, 0)
    structure, draw = build_structure(net, "unstructured"), torch.Generator()
    pruners = (Slamp(), Lamp())
    for pruner in pruners:
        pruner.begin(net, PruneContext(structure, "unstructured", 0.5, draw, 1))
    inputs = torch.rand(2, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    pruners[0].observe(Activity(net.record(inputs)[1]))
    slamp, lamp = (pruner.weight_scores() for pruner in pruners)
    assert slamp.keys() == lamp.keys()
    assert all(torch.equal(slamp[name], lamp[name]) for name in lamp)
    assert time_factor(torch.tensor([7.0]), 0.5) == pytest.approx(1)


@pytest.mark.parametrize(
    ("power", "beta", "factor"),
    [
        ([4.0, 4.0], 0.5, 2.25),  # norms 2, 2: membrane 2, 3; 9 / 4
        ([16.0, 0.0], 0.5, 2.0),  # norms 4, 0: membrane 4, 2; 16 / 8
        ([1.0, 1.0, 1.0], 1.0, 9.0),  # without decay T^2
        ([1.0, 1.0, 1.0], 0.0, 1.0),  # without memory 1
        ([0.0, 0.0], 0.5, 1.0),
    ],
)
def test_time_factor(power: list[float], beta: float, factor: float) -> None:
    assert time_factor(torch.tensor(power), beta) == pytest.approx(factor)


def test_a_layer_has_the_factor_of_its_input() -> None:
    net = constant_network("snn")  # three time steps
    pruner = begin(Slamp(), net, "unstructured")
    image, spikes = torch.ones(1, 2, 1, 2, 2), torch.zeros(3, 2, 8)
    spikes[0] = 1
    pruner.observe(Activity({"conv1": (image, image), "fc1": (spikes, spikes)}))
    plain, beta = begin(Lamp(), net, "unstructured").weight_scores(), net.spec.beta
    scores = pruner.weight_scores()
    torch.testing.assert_close(scores["conv1"], plain["conv1"] * (1 + beta + beta**2) ** 2)
    torch.testing.assert_close(scores["fc1"], plain["fc1"] * 3)  # 8 at one step, 8 / 3 on average
    spikes[0], spikes[1] = 0, 1
    pruner.observe(Activity({"conv1": (image, image), "fc1": (spikes, spikes)}))
    assert pruner.power["fc1"].tolist() == pytest.approx([7.2, 0.8, 0])


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="momentum"):
        Slamp(momentum=-0.1)
