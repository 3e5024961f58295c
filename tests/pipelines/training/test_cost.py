"""Costs, worked by hand: stride, padding, groups, time steps, masks, static input."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from baselines.shared.groups import weight_structure
from baselines.shared.masks import Masks
from pipelines.networks.network import Network
from pipelines.settings.network import READOUT, NetworkSpec
from pipelines.training.cell import build_network
from pipelines.training.cost import (
    ActivityCounter,
    connection_sparsity,
    existing_parameters,
    fan_out,
    membrane_updates,
    operations,
)


def fan(layer: nn.Module, weight: torch.Tensor, *shape: int) -> list[float]:
    return fan_out(layer, weight, torch.Size(shape)).flatten().tolist()


def test_fan_out_without_padding() -> None:
    # 3x3 input, 2x2 kernel, one output channel: corners feed 1 output, edges 2, the middle 4.
    layer = nn.Conv2d(1, 1, 2)
    assert fan(layer, torch.ones(1, 1, 2, 2), 1, 3, 3) == [1, 2, 1, 2, 4, 2, 1, 2, 1]


def test_fan_out_with_padding() -> None:
    # 2x2 input, 3x3 kernel, padding 1: every input reaches all 4 outputs; 5 channels make 20.
    layer = nn.Conv2d(1, 5, 3, padding=1)
    assert fan(layer, torch.ones(5, 1, 3, 3), 1, 2, 2) == [20, 20, 20, 20]


def test_fan_out_with_stride() -> None:
    # 1x4 input, 1x2 kernel, stride 2: the outputs do not overlap, each input is read once.
    layer = nn.Conv2d(1, 1, (1, 2), stride=2)
    assert fan(layer, torch.ones(1, 1, 1, 2), 1, 1, 4) == [1, 1, 1, 1]
    # Stride 3 with kernel 1 reads inputs 0 and 3 alone.
    layer = nn.Conv2d(1, 1, 1, stride=3)
    assert fan(layer, torch.ones(1, 1, 1, 1), 1, 1, 4) == [1, 0, 0, 1]


def test_fan_out_with_groups() -> None:
    # Two groups: each input channel feeds the 3 outputs of its own group only.
    layer = nn.Conv2d(2, 6, 1, groups=2)
    assert fan(layer, torch.ones(6, 1, 1, 1), 2, 1, 1) == [3, 3]


def test_fan_out_skips_zero_weights() -> None:
    layer = nn.Conv2d(1, 1, 2)
    weight = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])  # only the top left weight exists
    assert fan(layer, weight, 1, 3, 3) == [1, 1, 0, 1, 1, 0, 0, 0, 0]
    linear = nn.Linear(3, 2)
    assert fan(linear, torch.tensor([[1.0, 0.0, 2.0], [0.0, 0.0, 3.0]]), 3) == [1, 0, 2]


def spiking(steps: int) -> Network:
    spec = NetworkSpec(kind="snn", layout="2C1-3FC", time_steps=steps)
    return build_network(spec, (1, 1, 2), 2, seed=0)


def test_operations_by_hand() -> None:
    """2C1 on a 1 x 2 map, 3FC of 4 inputs, readout of 3: one sample, T = 2, static input."""
    net = spiking(2)
    counter = ActivityCounter(steps=2)
    image = torch.tensor([[[[[0.5, 0.0]]]]])  # one of two pixels is not zero
    conv = torch.zeros(2, 1, 2, 1, 2)
    conv[0, 0, 0] = 1  # step 0: channel 0 spikes at both positions
    conv[1, 0, 1, 0, 0] = 1  # step 1: channel 1 spikes at position 0
    hidden = torch.tensor([[[1.0, 0.0, 0.0]], [[1.0, 1.0, 0.0]]])
    counter.add(
        {
            "conv1": (image, conv),
            "fc1": (conv.flatten(2), hidden),
            READOUT: (hidden, torch.zeros(1, 1, 2)),
        }
    )
    counts = operations(net, counter)
    # conv1: dense 2 positions x 2 channels x 2 steps. Its input is analogue, so it has MACs:
    # 1 active pixel x 2 channels x 2 steps.
    # fc1: dense 4 x 3 x 2 steps; ACs 3 spikes x 3. readout: dense 3 x 2 x 2 steps; 3 spikes x 2.
    assert counts == {"conv1": (8, 4.0, 0.0), "fc1": (24, 0.0, 9.0), READOUT: (12, 0.0, 6.0)}
    assert counter.firing_rates() == {"conv1": 3 / 8, "fc1": 3 / 6}
    # conv1 has 4 neurons, fc1 has 3, the readout none. Of their 7 x 2 outputs, 8 are zero.
    assert membrane_updates(net, counter) == {"conv1": 8, "fc1": 6, READOUT: 0}
    assert counter.activation_sparsity() == 8 / 14
    with torch.no_grad():
        net.fc1.weight[:, 0] = 0  # all connections of channel 0, position 0
        net.fc1.weight[0, 1] = 0
    assert operations(net, counter)["fc1"] == (24, 0.0, 3 * 3 - 3 - 1)


def test_counts_are_per_sample_and_batches_add_up() -> None:
    net = spiking(3)
    one, many = ActivityCounter(3), ActivityCounter(3)
    x = torch.randn(5, 1, 1, 2)
    for part in x.split(2):
        many.add(net.eval().run(part)[1])
    one.add(net.run(x)[1])
    in_parts, at_once = operations(net, many), operations(net, one)
    assert in_parts.keys() == at_once.keys()
    for name in in_parts:
        assert in_parts[name] == pytest.approx(at_once[name])


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("value", "binary"), [(1.0, True), (0.5, False), (-1.0, False), (math.inf, False)]
)
def test_active_inputs_are_counted_in_any_memory_layout(
    layout: torch.memory_format, value: float, binary: bool
) -> None:
    maps = torch.zeros(4, 3, 2, 5)  # two steps of two samples
    maps[0, 1, 0, 2], maps[3, 1, 0, 2], maps[2, 2, 1, 4] = value, 1, 1
    x = maps.to(memory_format=layout).view(2, 2, 3, 2, 5)
    counter = ActivityCounter(2)
    counter.add({"conv1": (x, torch.tensor([0.0, 1, 0, 1]).view(2, 2, 1))})
    expected = torch.zeros(3, 2, 5, dtype=torch.float64)
    expected[1, 0, 2], expected[2, 1, 4] = 2, 1
    assert torch.equal(counter.active["conv1"], expected)
    assert counter.binary["conv1"] is binary
    assert counter.firing_rates() == {"conv1": 0.5}
    assert counter.fired == {"conv1": 2}


def test_average_pooling_makes_analogue_inputs() -> None:
    spec = NetworkSpec(kind="snn", layout="2C1-AP2-3FC", time_steps=1)
    net = build_network(spec, (1, 2, 2), 2, seed=0)
    counter = ActivityCounter(1)
    spikes = torch.tensor([1.0, 0, 0, 0, 0, 0, 0, 0]).view(1, 1, 2, 2, 2)
    pooled = torch.tensor([[[0.25, 0.0]]])
    counter.add(
        {"conv1": (torch.ones(1, 1, 1, 2, 2), spikes), "fc1": (pooled, torch.ones(1, 1, 3))}
    )
    assert operations(net, counter)["fc1"] == (6, 3.0, 0.0)


def test_costs_of_a_residual_block_by_hand() -> None:
    """With stride 2, the block and its shortcut read one position of the 2 x 2 map only."""
    spec = NetworkSpec(kind="snn", layout="2C1-[1C1s2-3C1]", time_steps=2)
    net = build_network(spec, (1, 2, 2), 2, seed=0)
    read, skipped = torch.zeros(2, 1, 2, 2, 2), torch.zeros(2, 1, 2, 2, 2)
    read[1, 0, :, 0, 0] = 1  # spikes of both channels, at the position that the stride reads
    skipped[:, 0, :, 1, 1] = 1  # spikes at a position that it skips
    spikes, one = read + skipped, torch.ones(2, 1, 1, 1, 1)
    fires = torch.zeros(2, 1, 3, 1, 1)
    fires[0, 0, 0] = 1
    counter = ActivityCounter(2)
    counter.add(
        {
            "conv1": (torch.full((1, 1, 1, 2, 2), 0.5), spikes),
            "conv2": (spikes, one),
            "conv3": (one, fires),
            "conv3_shortcut": (spikes, fires),
            READOUT: (fires.flatten(2), torch.zeros(1, 1, 2)),
        }
    )
    assert operations(net, counter) == {
        "conv1": (16, 16.0, 0.0),
        "conv2": (4, 0.0, 2.0),
        "conv3": (6, 0.0, 6.0),
        "conv3_shortcut": (12, 0.0, 6.0),
        READOUT: (12, 0.0, 2.0),
    }
    updates = {"conv1": 16, "conv2": 2, "conv3": 6, "conv3_shortcut": 0, READOUT: 0}
    assert membrane_updates(net, counter) == updates
    assert counter.firing_rates() == {"conv1": 6 / 16, "conv2": 1.0, "conv3": pytest.approx(1 / 6)}
    assert counter.activation_sparsity() == (10 + 0 + 5) / (16 + 2 + 6)


def test_masked_weights_are_no_parameters() -> None:
    net = spiking(1)
    structure = weight_structure(net, READOUT)
    mask = torch.ones(3, 4, dtype=torch.bool)
    mask[0] = False
    everything = sum(p.numel() for p in net.parameters())
    assert existing_parameters(net, structure, Masks({"fc1.weight": mask})) == everything - 4
    assert structure.prunable == 2 + 12
    assert structure.density(Masks({"fc1.weight": mask})) == 10 / 14


def test_activation_sparsity_gives_each_output_the_same_weight() -> None:
    """Batches of 3 and 1 samples, layers of 4 and 1 neurons: a mean of means would be wrong."""
    counter = ActivityCounter(1)
    silent, active = torch.zeros(1, 3, 4), torch.ones(1, 3, 1)
    counter.add({"fc1": (silent, silent), "fc2": (silent, active)})
    counter.add(
        {"fc1": (silent[:, :1], torch.ones(1, 1, 4)), "fc2": (silent[:, :1], active[:, :1])}
    )
    assert counter.activation_sparsity() == 12 / 20


def test_a_relu_has_no_membrane() -> None:
    net = build_network(NetworkSpec(kind="ann", layout="2C1-3FC"), (1, 1, 2), 2, seed=0)
    counter = ActivityCounter(net.steps)
    counter.add(net.run(torch.ones(5, 1, 1, 2))[1])
    assert set(membrane_updates(net, counter).values()) == {0}
    assert counter.neurons == {"conv1": 4, "fc1": 3}


def test_connection_sparsity_counts_the_weights_of_all_layers() -> None:
    net = spiking(1)
    assert connection_sparsity(net) == 0
    with torch.no_grad():
        net.get_parameter("fc1.weight")[0] = 0
        net.get_parameter("readout.weight")[0, 0] = 0
        net.get_parameter("readout.bias").zero_()
    assert connection_sparsity(net) == 5 / (2 + 12 + 6), "a bias is not a connection"
