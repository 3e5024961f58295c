"""Distances between filters, by hand."""

from __future__ import annotations

import torch

from baselines.fpgm import FPGM
from tests.helpers.methods import (
    begin,
    constant_network,
)


def test_score_is_the_sum_of_distances_to_alive_filters() -> None:
    net = constant_network(layout="2C3-3FC")
    with torch.no_grad():
        rows = net.get_parameter("fc1.weight")
        rows.zero_()
        rows[:, 0] = torch.tensor([1.0, -1.0, 5.0])
    pruner = begin(FPGM(), net)
    # Between squared weights, the distances of the first two would be equal.
    scores = pruner.unit_scores()["fc1"]
    assert scores.tolist() == [6 / 8, 8 / 8, 10 / 8]
    pruner.alive["fc1"] = torch.tensor([True, True, False])
    assert pruner.unit_scores()["fc1"][:2].tolist() == [1, 1]
