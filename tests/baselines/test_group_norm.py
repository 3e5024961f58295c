"""The penalty of DepGraph on groups, by hand."""

from __future__ import annotations

import pytest
import torch

from baselines.group_norm import GroupNorm
from tests.helpers.methods import (
    begin,
    constant_network,
)


def test_weak_units_are_penalised_more() -> None:
    net = constant_network(layout="3C3-2FC")
    pruner = begin(GroupNorm(strength=0.1, alpha=4), net)
    squares, alive = torch.tensor([1.0, 4.0, 9.0]), torch.tensor([True, True, True])
    assert pruner.scaling(squares, alive).tolist() == [16, 4, 1]
    squares, alive = torch.tensor([0.0, 4.0, 9.0]), torch.tensor([False, True, True])
    assert pruner.scaling(squares, alive)[1:].tolist() == [16, 1], (
        "pruned units do not set the scale"
    )
    squares, alive = torch.tensor([0.0, 4.0, 4.0]), torch.tensor([False, True, True])
    assert pruner.scaling(squares, alive).tolist() == [1, 1, 1]
    with torch.no_grad():
        net.get_parameter("conv1.weight")[0] = 4
    gradient = torch.autograd.grad(pruner.penalty(), net.get_parameter("conv1.weight"))[0]
    # the gradient of the strongest is 0.1 * w, of the others 16 times as much
    assert gradient[:, 0, 0, 0].tolist() == pytest.approx([0.1 * 4, 1.6 * 2, 1.6 * 2])


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="alpha"):
        GroupNorm(alpha=-1.0)
