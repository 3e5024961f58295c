"""SynOps under masks, on a network whose spikes are counted by hand."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor

from baselines.shared.masks import Masks
from pipelines.data.splits import Split
from pipelines.networks.initial import build_network
from pipelines.networks.network import Network
from pipelines.settings.network import NetworkSpec
from pipelines.training.synops_meter import SynopsMeter

SAMPLES = 12


def spiking() -> tuple[Network, Split]:
    net = build_network(NetworkSpec(kind="snn", layout="4FC-3FC", time_steps=3), (1, 2, 2), 5, 0)
    draw = torch.Generator().manual_seed(1)
    inputs = torch.randn(SAMPLES, 1, 2, 2, generator=draw)
    return net, Split(inputs, torch.zeros(SAMPLES, dtype=torch.long))


def spikes(net: Network, split: Split, masks: Masks) -> tuple[Tensor, Tensor]:
    """Spikes of each unit of both layers, with batch norm as in training."""
    masked = deepcopy(net).train()
    masks.project(masked)
    with torch.no_grad():
        activity = masked.run(split.batch(slice(SAMPLES))[0])[1]
    return activity["fc1"][1].sum((0, 1)), activity["fc2"][1].sum((0, 1))


def test_a_spike_counts_once_for_each_weight_that_is_left() -> None:
    net, split = spiking()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    meter = SynopsMeter(net, split)
    kept = torch.ones(3, 4, dtype=torch.bool)
    kept[0] = False  # the first unit of fc2 reads nothing
    kept[1, 2] = False
    for masks, fan_out in (
        (Masks(), torch.tensor([3.0, 3, 3, 3])),
        (Masks({"fc2.weight": kept}), torch.tensor([2.0, 2, 1, 2])),
    ):
        first, second = spikes(net, split, masks)
        assert float(first.sum()) > 0, "without spikes the test shows nothing"
        expected = (float((first * fan_out).sum()) + 5 * float(second.sum())) / SAMPLES
        assert abs(meter(masks) - expected) < 1e-9, "fc1 reads images, which are no spikes"
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]), f"measuring changed {name}"


def test_the_present_weights_count() -> None:
    net, split = spiking()
    meter = SynopsMeter(net, split)
    assert meter(Masks()) > 0
    with torch.no_grad():
        net.get_parameter("fc2.weight").zero_()
    first, second = spikes(net, split, Masks())
    assert float(second.sum()) == 0
    assert meter(Masks()) == 0.0 < float(first.sum())
