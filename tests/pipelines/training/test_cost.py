"""Costs worked by hand: stride, padding, groups, time steps, masks, static input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from baselines.shared.groups import weight_structure
from baselines.shared.masks import Masks
from pipelines.networks.network import Network
from pipelines.records.record import SCHEMA_VERSION, read_record
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
from tests.helpers.paths import ROOT

TUNING = ROOT / "results" / "tuning"


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
    weight = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])  # only the top left tap exists
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
    conv[0, 0, 0] = 1  # step 0: channel 0 fires at both positions
    conv[1, 0, 1, 0, 0] = 1  # step 1: channel 1 fires at position 0
    hidden = torch.tensor([[[1.0, 0.0, 0.0]], [[1.0, 1.0, 0.0]]])
    counter.add(
        {
            "conv1": (image, conv),
            "fc1": (conv.flatten(2), hidden),
            READOUT: (hidden, torch.zeros(1, 1, 2)),
        }
    )
    counts = operations(net, counter)
    # conv1: 2 positions x 2 channels x 2 steps dense; the analogue input makes MACs:
    # 1 active pixel x 2 channels x 2 steps. fc1: 4 x 3 x 2 dense; 3 spikes x 3. readout:
    # 3 x 2 x 2 dense; 3 spikes x 2.
    assert counts == {"conv1": (8, 4.0, 0.0), "fc1": (24, 0.0, 9.0), READOUT: (12, 0.0, 6.0)}
    assert counter.firing_rates() == {"conv1": 3 / 8, "fc1": 3 / 6}
    # 2 x 2 and 3 neurons for 2 steps, of whose 14 outputs 8 are zero; the readout has none.
    assert membrane_updates(net, counter) == {"conv1": 8, "fc1": 6, READOUT: 0}
    assert counter.activation_sparsity() == 8 / 14
    with torch.no_grad():
        net.fc1.weight[:, 0] = 0  # the connections of channel 0, position 0
        net.fc1.weight[0, 1] = 0
    assert operations(net, counter)["fc1"] == (24, 0.0, 3 * 3 - 3 - 1)


def test_counts_are_per_sample_and_batches_add_up() -> None:
    net = spiking(3)
    one, many = ActivityCounter(3), ActivityCounter(3)
    x = torch.randn(5, 1, 1, 2)
    for part in x.split(2):
        many.add(net.eval().run(part)[1])
    one.add(net.run(x)[1])
    ours, theirs = operations(net, many), operations(net, one)
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert ours[name] == pytest.approx(theirs[name])


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
    """A stride of 2 leaves one place of a 2 x 2 map, to the block and to its shortcut."""
    spec = NetworkSpec(kind="snn", layout="2C1-[1C1s2-3C1]", time_steps=2)
    net = build_network(spec, (1, 2, 2), 2, seed=0)
    seen, unseen = torch.zeros(2, 1, 2, 2, 2), torch.zeros(2, 1, 2, 2, 2)
    seen[1, 0, :, 0, 0] = 1  # both channels, where the stride begins
    unseen[:, 0, :, 1, 1] = 1
    spikes, one = seen + unseen, torch.ones(2, 1, 1, 1, 1)
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


def test_parameters_leave_out_masked_weights() -> None:
    net = spiking(1)
    structure = weight_structure(net, READOUT)
    mask = torch.ones(3, 4, dtype=torch.bool)
    mask[0] = False
    everything = sum(p.numel() for p in net.parameters())
    assert existing_parameters(net, structure, Masks({"fc1.weight": mask})) == everything - 4
    assert structure.prunable == 2 + 12
    assert structure.density(Masks({"fc1.weight": mask})) == 10 / 14


def test_activation_sparsity_weighs_each_output_alike() -> None:
    """Batches of 3 and 1 samples, layers of 4 and 1 neurons: no mean of means would do."""
    counter = ActivityCounter(1)
    silent, busy = torch.zeros(1, 3, 4), torch.ones(1, 3, 1)
    counter.add({"fc1": (silent, silent), "fc2": (silent, busy)})
    counter.add({"fc1": (silent[:, :1], torch.ones(1, 1, 4)), "fc2": (silent[:, :1], busy[:, :1])})
    assert counter.activation_sparsity() == 12 / 20


def test_a_relu_has_no_membrane() -> None:
    net = build_network(NetworkSpec(kind="ann", layout="2C1-3FC"), (1, 1, 2), 2, seed=0)
    counter = ActivityCounter(net.steps)
    counter.add(net.run(torch.ones(5, 1, 1, 2))[1])
    assert set(membrane_updates(net, counter).values()) == {0}
    assert counter.neurons == {"conv1": 4, "fc1": 3}


def test_connection_sparsity_counts_every_weight_that_exists() -> None:
    net = spiking(1)
    assert connection_sparsity(net) == 0
    with torch.no_grad():
        net.get_parameter("fc1.weight")[0] = 0
        net.get_parameter("readout.weight")[0, 0] = 0
        net.get_parameter("readout.bias").zero_()
    assert connection_sparsity(net) == 5 / (2 + 12 + 6), "biases are no connections"


def test_records_of_older_code_are_read(tmp_path: Path) -> None:
    paths = sorted(TUNING.rglob("*.json"))
    assert paths
    for path in paths:
        assert read_record(path).schema_version <= SCHEMA_VERSION
    document = json.loads(paths[0].read_text())
    cost = document["outcome"]["cost"]
    new = ("membrane_updates", "activation_sparsity", "connection_sparsity")
    for name in new:
        cost.pop(name, None)
    for layer in cost["layers"].values():
        layer.pop("membrane_updates", None)
    old = tmp_path / "old.json"
    old.write_text(json.dumps(document | {"schema_version": 1}))
    outcome = read_record(old).outcome
    assert outcome is not None
    assert [getattr(outcome.cost, name) for name in new] == [None] * 3
    assert {layer.membrane_updates for layer in outcome.cost.layers.values()} == {None}
