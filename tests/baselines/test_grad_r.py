"""Grad R: two steps by hand, and reconnection over a run."""

from __future__ import annotations

import pytest
import torch

from baselines.grad_r import GradientRewiring
from pipelines.training.schedule import learning_rate
from tests.helpers.small_runs import (
    RECIPE,
    count_returns,
    masks_and_weights,
    small_trainer,
)


def test_a_connection_is_pruned_and_comes_back_by_hand() -> None:
    pruner = GradientRewiring(alpha=0.5, stop=1.0)
    small_trainer(pruner)
    pruner.masks(0.0)
    weight, signs = pruner.layer_weights()["fc1"], pruner.signs["fc1"]
    theta, drift = signs * pruner.hidden["fc1"], 0.5 * learning_rate(RECIPE, 0.2)
    assert pruner.mean == pytest.approx(-1.0217, abs=1e-4)  # log(2 * 0.3) / 0.5
    # An optimizer step makes the first weight change sign, and halves the second.
    with torch.no_grad():
        weight.view(-1)[0] *= -0.5
        weight.view(-1)[1] *= 0.5
    assert theta.view(-1)[:2].min() > 2 * drift
    pruner.masks(0.2)
    expected = theta.clone()
    expected.view(-1)[0] *= -0.5
    expected.view(-1)[1] *= 0.5
    expected -= drift
    torch.testing.assert_close(signs * pruner.hidden["fc1"], expected)
    torch.testing.assert_close(weight.detach(), signs * expected.relu())
    assert weight.view(-1)[0] == 0, "disconnected"
    # The optimizer moves the weight although it is zero.
    with torch.no_grad():
        weight.view(-1)[0] += signs.view(-1)[0] * (theta.view(-1)[0] + drift)
    pruner.masks(0.2)
    assert (weight.detach() * signs).view(-1)[0] > 0, "connected again"


def test_connections_come_back_in_training() -> None:
    _, weights = masks_and_weights(GradientRewiring(alpha=0.25, stop=0.8))
    assert count_returns(weights) > 0


def test_the_share_of_theta_below_zero_by_hand() -> None:
    pruner = GradientRewiring(stop=1.0)
    small_trainer(pruner)
    for name, hidden in pruner.hidden.items():  # 36 and 192 weights; the first 57 get theta < 0
        hidden.copy_(pruner.signs[name])
    pruner.hidden["conv1"] *= -1
    pruner.hidden["fc1"].view(-1)[:21] *= -1
    (below,) = pruner.fidelity()
    assert below.value == pytest.approx(57 / 228)
    assert below.paper == "70 % (sparsity of the prior)"
    assert not below.holds, "0.25 < 0.75 * 0.7"


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="alpha must be positive"):
        GradientRewiring(alpha=0.0)
