"""Growing regularisation: penalty and removal, by hand."""

from __future__ import annotations

import pytest
import torch

from baselines.growing_reg import GrowingReg
from tests.helpers.methods import (
    begin,
    constant_network,
)


def test_only_selected_units_are_penalised_and_removed() -> None:
    net = constant_network()
    with torch.no_grad():
        net.get_parameter("conv1.weight")[1] = 1
        net.get_parameter("readout.weight")[:, 0] = 1
    pruner = begin(GrowingReg(start=0.2, stop=0.6, updates=10, ceiling=1.0), net)
    assert pruner.penalty() is None
    assert pruner.masks(0.2) is None
    assert pruner.penalty().item() == 0
    assert pruner.masks(0.4) is None
    penalty = pruner.penalty()
    weights = [net.get_parameter(f"{n}.weight") for n in ("conv1", "conv1_norm", "fc1", "readout")]
    conv, norm, fc, readout = torch.autograd.grad(penalty, weights)
    assert conv[:, 0, 0, 0].tolist() == pytest.approx([0, 0.5 * 1])
    assert norm.tolist() == pytest.approx([0, 0.5])
    assert fc[:, [0, 4]].flatten().tolist() == pytest.approx([0.5 * 2, 0.5 * 2 * 2, 0, 0.5 * 2])
    assert readout[0].tolist() == pytest.approx([0.5, 0])
    masks = pruner.masks(0.6)
    assert {n: u.tolist() for n, u in masks.units.items()} == {
        "conv1": [True, False],
        "fc1": [False, True],
    }
    assert pruner.penalty() is None
    assert pruner.restarts() == (0.2,), "dense training has a learning-rate schedule of its own"


def test_what_the_penalty_leaves_by_hand() -> None:
    net = constant_network()
    with torch.no_grad():
        net.get_parameter("conv1.weight")[1] = 1
        net.get_parameter("readout.weight")[:, 0] = 1
    pruner = begin(GrowingReg(start=0.4, stop=0.8, updates=10), net)
    pruner.masks(0.4)
    for name in ("conv1", "fc1", "readout"):
        with torch.no_grad():
            net.get_parameter(f"{name}.weight").mul_(0.25)
    pruner.masks(0.8)
    dense, left = pruner.fidelity()
    assert dense.value == 0.4
    assert left.value == pytest.approx(0.25), "batch norm does not count"
    assert left.holds


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="ceiling"):
        GrowingReg(ceiling=-1.0)
