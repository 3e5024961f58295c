"""DPAP with competition: scores by hand, allocation, and whole runs of random spikes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch

from baselines.shared.activity import Activity
from baselines.shared.contract import PruneContext
from dpap.compete import CompetitiveDPAP
from pipelines.networks.initial import build_network, build_structure
from pipelines.settings.network import NetworkSpec
from tests.dpap.test_trophic import run
from tests.helpers.methods import begin, constant_network


def samples(channels: list[list[float]], neurons: list[list[float]]) -> Activity:
    """Samples at one step: [samples][units], each channel with four places of equal activity."""
    maps = torch.tensor(channels)[None, :, :, None, None].expand(-1, -1, -1, 2, 2) / 4
    fired = torch.tensor(neurons)[None]
    count = len(neurons)
    return Activity(
        {
            "conv1": (torch.ones(1, count, 1, 2, 2), maps),
            "fc1": (maps.flatten(2), fired),
            "readout": (fired, torch.zeros(1, count, 3)),
        }
    )


def test_a_score_joins_support_norm_and_inhibition() -> None:
    pruner = CompetitiveDPAP(updates=10, start=1.0, stop=1.0)
    net = constant_network("snn")
    begin(pruner, net)
    with torch.no_grad():
        net.get_parameter("conv1.weight")[1] = 6.0
    # The traces of the channels have the variances 4 and 8 and the covariance 4: rho^2 = 1/2.
    pruner.observe(samples([[0, 0], [4, 4], [0, 4], [4, 8]], [[1, 1]] * 4))
    assert pruner.masks(0.1) is None
    # The mean activities are 2 and 4, so F is 2/3 and 4/3. Both channels own three slices: the
    # filter, squared norm 9 * 4 and 9 * 36, their columns of fc1, 8 * 4, and a scale of 1.
    norms = [9 * 4 + 8 * 4 + 1, 9 * 36 + 8 * 4 + 1]
    # Relative to the mean, which cancels in the comparison: squares of F * norm.
    weak = 2 / 3 * norms[0] * (1 / 2) ** 2
    strong = 4 / 3 * norms[1]
    assert pruner.unit_scores()["conv1"].tolist() == pytest.approx([weak / (weak + strong), 1.0])


def begun(layout: str, density: float, **options: Any) -> CompetitiveDPAP:
    """A one-shot pruner after one batch of constant activity."""
    spec = NetworkSpec(kind="snn", layout=layout, time_steps=2)
    network = build_network(spec, (1, 4, 4), 3, seed=0)
    structure = build_structure(network, "hybrid")
    pruner = CompetitiveDPAP(updates=10, start=0.1, stop=0.1, **options)
    draw = torch.Generator().manual_seed(0)
    pruner.begin(network, PruneContext(structure, "hybrid", density, draw, 2))
    return pruner


def observe_ones(pruner: CompetitiveDPAP) -> None:
    activity = {}
    names = [layer.name for layer in pruner.context.structure.layers] + ["readout"]
    for name in names:
        weight = pruner.network.get_parameter(f"{name}.weight")
        activity[name] = (torch.ones(2, 2, weight.shape[1]), torch.ones(2, 2, weight.shape[0]))
    pruner.observe(Activity(activity))


@pytest.mark.parametrize(("ratio", "channels"), [(1.0, 6), (2.0, 8), (4.0, 10)])
def test_convolutions_have_a_multiple_of_the_density_of_linear_layers(
    ratio: float, channels: int
) -> None:
    # 20 channels of 9 weights, and 10 neurons of 20 weights. Of 380 weights, 114 are kept. The
    # convolution has ratio * 114 / (ratio * 180 + 200) of its weights: 0.3, 0.41 and 0.50.
    pruner = begun("20C3-MP4-10FC", 0.3, hybrid_ratio=ratio)
    observe_ones(pruner)
    masks = pruner.masks(0.1)
    assert masks is not None
    assert int(masks.units["conv1"].sum()) == channels
    assert int(masks.parameters["fc1.weight"].sum()) == 114 - 9 * channels


def test_a_neuron_dies_with_its_last_synapse() -> None:
    pruner = begun("4C3-MP4-6FC-5FC", 0.5, lateral=False)
    with torch.no_grad():
        pruner.network.get_parameter("fc1.weight")[2] = 0.0  # no input
        pruner.network.get_parameter("fc2.weight")[:, 3] = 0.0  # no output
    observe_ones(pruner)
    masks = pruner.masks(0.1)
    assert masks is not None
    kept, weights = masks.units["fc1"], masks.parameters
    wired = weights["fc1.weight"].any(1) & weights["fc2.weight"].any(0)
    assert kept.tolist() == wired.tolist()
    assert not bool(kept[3])
    assert pruner.context.structure.density(masks) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("granularity", ["structured", "hybrid"])
@pytest.mark.parametrize("lateral", [True, False])
def test_units_stay_pruned_and_the_density_is_met(granularity: str, lateral: bool) -> None:
    masks, pruner = run(CompetitiveDPAP(updates=60, lateral=lateral), granularity, 0.3)
    for earlier, later in pairwise(masks):
        for name, units in earlier.units.items():
            assert not bool((later.units[name] & ~units).any()), name
    density = pruner.context.structure.density(masks[-1])
    assert abs(density - 0.3) < (0.06 if granularity == "structured" else 0.005)
    assert all(bool(kept.any()) for kept in masks[-1].units.values())


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="structured_ratio"):
        CompetitiveDPAP(structured_ratio=0.0)
    with pytest.raises(ValueError, match="hybrid_ratio"):
        CompetitiveDPAP(hybrid_ratio=-1.0)
    with pytest.raises(ValueError, match="tau"):
        CompetitiveDPAP(tau=1.5)
