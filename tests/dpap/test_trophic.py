"""DPAP with trophic support: running means by hand, and whole runs of random spikes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from baselines.shared.activity import Activity
from baselines.shared.contract import PruneContext
from baselines.shared.masks import Masks
from dpap.trophic import SpatioTemporalTrophicDPAP, TrophicDPAP
from pipelines.networks.initial import build_network, build_structure
from pipelines.settings.network import NetworkSpec
from tests.helpers.methods import begin, constant_network
from tests.helpers.spikes import random_spikes


def rates(conv: list[float], fc: list[float]) -> Activity:
    """One sample at one step: two channels with four places of equal activity, and two neurons."""
    maps = torch.tensor(conv).view(1, 1, 2, 1, 1).expand(-1, -1, -1, 2, 2)
    neurons = torch.tensor(fc).view(1, 1, 2)
    return Activity(
        {
            "conv1": (torch.ones(1, 1, 1, 2, 2), maps),
            "fc1": (maps.flatten(2), neurons),
            "readout": (neurons, torch.zeros(1, 1, 3)),
        }
    )


def run(
    pruner: TrophicDPAP, granularity: str, density: float | None, steps: int = 2
) -> tuple[list[Masks], TrophicDPAP]:
    """Feed random activity over a whole run, and return all masks."""
    layout = "6C3-MP2-10FC-8FC"
    network = build_network(
        NetworkSpec(kind="snn", layout=layout, time_steps=steps), (1, 4, 4), 3, 0
    )
    structure = build_structure(network, granularity)
    draw = torch.Generator().manual_seed(0)
    pruner.begin(network, PruneContext(structure, granularity, density, draw, steps))  # type: ignore[arg-type]
    shapes = {
        "conv1": ((1, 4, 4), (6, 4, 4)),
        "fc1": ((24,), (10,)),
        "fc2": ((10,), (8,)),
        "readout": ((8,), (3,)),
    }
    masks = []
    for step in range(1, 121):
        activity = {
            name: (random_spikes(4, before, draw), random_spikes(4, after, draw))
            for name, (before, after) in shapes.items()
        }
        pruner.observe(Activity(activity))
        found = pruner.masks(step / 120)
        if found is not None:
            found.project(network)
            masks.append(found)
    return masks, pruner


def scores(pruner: TrophicDPAP) -> dict[str, list[float]]:
    return {name: values.tolist() for name, values in pruner.unit_scores().items()}


def set_readout(pruner: TrophicDPAP, weight: Tensor) -> None:
    with torch.no_grad():
        pruner.network.get_parameter("readout.weight").copy_(weight)


def test_support_relative_to_its_mean_enters_a_running_mean() -> None:
    pruner = TrophicDPAP(updates=10, start=1.0, stop=1.0, memory=0.75, momentum=0.5)
    begin(pruner, constant_network("snn"))
    set_readout(pruner, torch.tensor([[1.0, 1.0], [2.0, 0.0], [0.0, 3.0]]))
    pruner.observe(rates([1, 3], [5, 1]))
    pruner.observe(rates([1, 3], [1, 1]))  # the running means of the neurons are 3 and 1
    assert pruner.masks(0.1) is None
    # T of the neurons is 1.75 and 1.25, the mean 1.5. Both read channels with shares 1/4 and 3/4.
    assert scores(pruner)["fc1"] == pytest.approx([1.75 / 1.5, 1.25 / 1.5])
    assert scores(pruner)["conv1"] == pytest.approx([0.5, 1.5])
    set_readout(pruner, torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]]))
    assert pruner.masks(0.2) is None
    # T is 2 and 1 now.
    first, second = [1.75 / 1.5, 1.25 / 1.5], [2 / 1.5, 1 / 1.5]
    assert scores(pruner)["fc1"] == pytest.approx(
        [0.75 * a + 0.25 * b for a, b in zip(first, second, strict=True)]
    )


def test_the_unit_of_least_support_dies() -> None:
    pruner = TrophicDPAP(updates=10, start=0.1, stop=0.1)
    begin(pruner, constant_network("snn"))
    set_readout(pruner, torch.tensor([[1.0, 1.0], [2.0, 0.0], [0.0, 3.0]]))
    pruner.observe(rates([1, 3], [3, 1]))
    masks = pruner.masks(0.1)
    assert masks is not None
    assert {name: kept.tolist() for name, kept in masks.units.items()} == {
        "conv1": [False, True],
        "fc1": [True, False],
    }


def test_without_a_target_what_lies_below_the_threshold_dies() -> None:
    pruner = TrophicDPAP(updates=10, start=0.1, stop=1.0, threshold=0.6)
    net = constant_network("snn")
    structure = build_structure(net, "structured")
    pruner.begin(net, PruneContext(structure, "structured", None, torch.Generator(), 3))
    pruner.observe(rates([1, 3], [1, 1]))
    masks = pruner.masks(0.1)  # F is 0.5 and 1.5 in conv1, and 1 and 1 in fc1
    assert masks is not None
    assert {name: kept.tolist() for name, kept in masks.units.items()} == {
        "conv1": [False, True],
        "fc1": [True, True],
    }


@pytest.mark.parametrize("granularity", ["structured", "hybrid"])
@pytest.mark.parametrize("density", [None, 0.3])
def test_pruned_entries_stay_pruned(granularity: str, density: float | None) -> None:
    masks, pruner = run(TrophicDPAP(updates=60), granularity, density)
    assert len(masks) > 10
    for earlier, later in pairwise(masks):
        for name, mask in earlier.parameters.items():
            assert not bool((later.parameters[name] & ~mask).any()), name
    last = pruner.context.structure.density(masks[-1])
    assert 0 < last < 1
    if density is not None:
        assert abs(last - density) < (0.06 if granularity == "structured" else 0.005)
    assert all(bool(kept.any()) for kept in masks[-1].units.values())


def test_a_step_whose_spikes_have_little_support_is_silenced() -> None:
    pruner = SpatioTemporalTrophicDPAP(
        updates=10, start=0.1, stop=1.0, threshold=0.0, step_threshold=0.5
    )
    net = constant_network("snn")
    structure = build_structure(net, "spatio-temporal")
    pruner.begin(net, PruneContext(structure, "spatio-temporal", None, torch.Generator(), 3))
    # Spikes of the neurons at three steps. Both have rate 1, so both have F = 1.
    neurons = torch.tensor([[2.0, 1.0], [1.0, 1.0], [0.0, 1.0]]).unsqueeze(1)
    # Channel 0 has a rate of 1 and channel 1 of 3, so F is 0.5 and 1.5.
    steps = torch.tensor([[1.0, 6.0], [0.0, 2.0], [2.0, 1.0]]).view(3, 1, 2, 1, 1)
    maps = steps.expand(-1, -1, -1, 2, 2)
    pruner.observe(
        Activity(
            {
                "conv1": (torch.ones(1, 1, 1, 2, 2), maps),
                "fc1": (maps.flatten(2), neurons),
                "readout": (neurons, torch.zeros(1, 1, 3)),
            }
        )
    )
    masks = pruner.masks(0.1)
    assert masks is not None
    # F of a step is F of the unit, times its spikes at the step / its mean.
    # Neurons: 2, 1, 0 and 1, 1, 1. Channels: 0.5, 0, 1 and 3, 1, 0.5.
    assert masks.steps["fc1"].tolist() == [[True, True, False], [True, True, True]]
    assert masks.steps["conv1"].tolist() == [[True, False, True], [True, True, True]]


def test_silenced_steps_stay_silent_and_one_step_is_refused() -> None:
    masks, _ = run(SpatioTemporalTrophicDPAP(updates=60), "spatio-temporal", 0.3)
    for earlier, later in pairwise(masks):
        for name, kept in earlier.steps.items():
            assert not bool((later.steps[name] & ~kept).any()), name
    assert any(not bool(kept.all()) for kept in masks[-1].steps.values())
    with pytest.raises(ValueError, match="at least 2 time steps"):
        run(SpatioTemporalTrophicDPAP(), "spatio-temporal", 0.3, steps=1)
    with pytest.raises(ValueError, match="step_threshold"):
        SpatioTemporalTrophicDPAP(step_threshold=-1.0)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"memory": 1.0}, "memory"),
        ({"momentum": -0.1}, "momentum"),
        ({"threshold": -1.0}, "threshold"),
        ({"minimum_width": 0}, "minimum_width"),
        ({"stop": 0.2}, "stop"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        TrophicDPAP(**options)
