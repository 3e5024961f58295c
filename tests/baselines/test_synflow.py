"""SynFlow: flow by hand, conservation, and no vanishing layer."""

from __future__ import annotations

import pytest
import torch

from baselines.shared.masks import Masks
from baselines.synflow import SynFlow
from tests.helpers.methods import (
    begin_with_probe,
    initial_masks,
)


def test_flow_by_hand() -> None:
    pruner = SynFlow(rounds=1)
    net, probe = begin_with_probe(pruner, 0.5, "1C1-AP2-2FC")
    with torch.no_grad():
        net.get_parameter("conv1.weight").fill_(-2.0)
        net.get_parameter("fc1.weight").copy_(torch.tensor([[1.0] * 4, [-3.0] * 4]))
        net.get_parameter("readout.weight").copy_(torch.tensor([[1.0, -1], [1, 0], [0, 0]]))
    # R = 2 * (4 * 1 * (1 + 1) + 4 * 3 * 1) = 40. The score of a weight is its part of R.
    scores = pruner.weight_scores()
    assert scores["conv1"].flatten().tolist() == [40.0]
    assert scores["fc1"].tolist() == [[4.0] * 4, [6.0] * 4]
    assert not probe.meter.spent, "no sample is used"


@pytest.mark.parametrize("layout", ["4C3-MP2-6C3-10FC", "4C3-AP2-6C3-10FC"])
def test_every_layer_has_the_same_flow(layout: str) -> None:
    pruner = SynFlow(rounds=1)
    begin_with_probe(pruner, 0.5, layout)
    totals = [float(s.sum()) for s in pruner.weight_scores().values()]
    assert len(totals) == 3
    assert totals == pytest.approx([totals[0]] * 3, rel=1e-12)


def test_many_rounds_keep_a_layer_that_one_round_removes() -> None:
    alive = []
    for rounds in (1, 100):
        pruner = SynFlow(rounds=rounds)
        begin_with_probe(pruner, 0.02, "16C3-MP2-16C3-64FC")
        masks = initial_masks(pruner)
        assert pruner.context.structure.density(Masks(masks)) == pytest.approx(0.02, abs=1e-3)
        alive.append(min(int(mask.sum()) for mask in masks.values()))
    assert alive[0] == 0 < alive[1]


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="rounds must be at least 1"):
        SynFlow(rounds=0)
