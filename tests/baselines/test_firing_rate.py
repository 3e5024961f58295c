"""Firing rates, by hand."""

from __future__ import annotations

import pytest
import torch

from baselines.firing_rate import FiringRate
from baselines.shared.activity import Activity
from tests.helpers.methods import (
    begin,
    constant_network,
)


def test_moving_average_of_rates() -> None:
    pruner = begin(FiringRate(momentum=0.5), constant_network("snn"))
    spikes = torch.zeros(3, 2, 2, 2, 2)
    spikes[0, :, 0] = 1  # channel 0: 4 positions, both samples, 1 of 3 steps
    neurons = torch.zeros(3, 2, 2)
    neurons[:, 0, 1] = 1
    pruner.observe(Activity({"conv1": (spikes, spikes), "fc1": (spikes, neurons)}))
    assert pruner.rates["conv1"].tolist() == pytest.approx([4 / 3, 0])
    assert pruner.unit_scores()["fc1"].tolist() == [0, 2]
    silent = {"conv1": (spikes, 0 * spikes), "fc1": (spikes, neurons)}
    pruner.observe(Activity(silent))
    assert pruner.rates["conv1"].tolist() == pytest.approx([2 / 3, 0])


def test_a_projection_shortcut_does_not_count_neurons_twice() -> None:
    net = constant_network("snn", layout="2C1-[2C1]P-[2C1]-GAP")
    pruner = begin(FiringRate(momentum=0.5), net)
    ones, twos = torch.ones(3, 2, 2, 2, 2), 2 * torch.ones(3, 2, 2, 2, 2)
    sent = {"conv1": ones, "conv2": ones, "conv2_shortcut": ones, "conv3": twos}
    pruner.observe(Activity({name: (ones, post) for name, post in sent.items()}))
    assert pruner.context.structure.group_of("conv2").producers == (
        "conv2",
        "conv2_shortcut",
        "conv3",
    )
    assert pruner.rates["conv2"].tolist() == [4 * (1 + 2)] * 2


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="momentum"):
        FiringRate(momentum=-0.1)
