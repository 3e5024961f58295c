"""First-order Taylor scores, by hand."""

from __future__ import annotations

import pytest
import torch

from baselines.taylor import Taylor
from tests.helpers.methods import (
    begin,
    constant_network,
)


def test_unit_score_is_the_squared_sum_over_all_it_owns() -> None:
    net = constant_network()
    pruner = begin(Taylor(momentum=0.9), net)
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    net.get_parameter("conv1.weight").grad[0] = 0.5  # type: ignore[index]
    net.get_parameter("conv1_norm.weight").grad[:] = torch.tensor([-4.0, 3.0])  # type: ignore[index]
    net.get_parameter("fc1.weight").grad[0, 4:] = -1  # type: ignore[index]
    pruner.gradients()
    # 9 * (2 * 0.5) - 4, and 3 + 4 * (2 * -1)
    assert pruner.unit_scores()["conv1"].tolist() == [25, 25]
    assert pruner.unit_scores()["fc1"].tolist() == [64, 0]
    net.zero_grad(set_to_none=False)
    pruner.gradients()
    assert pruner.unit_scores()["fc1"].tolist() == pytest.approx([0.9 * 64, 0])


def test_weight_score() -> None:
    net = constant_network()
    pruner = begin(Taylor(), net, "unstructured")
    weight = net.get_parameter("fc1.weight")
    weight.grad = torch.full((2, 8), 3.0)
    with torch.no_grad():
        weight[0, 0] = 0
    pruner.gradients()
    scores = pruner.scores["fc1"]
    assert scores[0, 0] == 0
    assert scores[1].tolist() == 8 * [36]


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="momentum"):
        Taylor(momentum=1.0)
