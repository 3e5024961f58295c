"""RigL: one exchange by hand."""

from __future__ import annotations

import pytest
import torch

from baselines.rigl import RigL
from baselines.shared.masks import Masks
from tests.helpers.small_runs import (
    small_trainer,
)


def test_connections_of_largest_gradient_are_grown_and_fewer_later() -> None:
    pruner = RigL(fraction=0.5, updates=10, stop=1.0)
    run = small_trainer(pruner)
    pruner.masks(0.0)
    weight = pruner.layer_weights()["fc1"]
    before = pruner.kept["fc1"].clone()
    with torch.no_grad():
        weight.copy_(torch.arange(192.0).view_as(weight) + 1)
    for w in pruner.layer_weights().values():
        w.grad = -torch.arange(float(w.numel())).view_as(w)
    pruner.gradients()
    pruner.masks(0.5)  # the cosine is 1 / 2, so a quarter is exchanged
    after, number = pruner.kept["fc1"], round(0.25 * int(before.sum()))
    present, absent = before.flatten().nonzero().flatten(), (~before.flatten()).nonzero().flatten()
    assert (before & ~after).flatten().nonzero().flatten().tolist() == present[:number].tolist()
    assert (after & ~before).flatten().nonzero().flatten().tolist() == absent[-number:].tolist()
    assert pruner.exchanged(0.0) == 0.5
    assert pruner.exchanged(0.25) == pytest.approx(0.5 * 0.853553)
    assert not pruner.due(1.0)
    assert run.live.masks == Masks(), "no training step was made"


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="fraction must be"):
        RigL(fraction=2.0)
