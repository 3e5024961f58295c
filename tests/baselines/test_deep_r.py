"""Deep R: one step by hand, and signs over a run."""

from __future__ import annotations

import pytest
import torch

from baselines.deep_r import DeepRewiring
from pipelines.training.schedule import learning_rate
from tests.helpers.small_runs import (
    RECIPE,
    count_returns,
    masks_and_weights,
    small_trainer,
)


def test_signs_never_change() -> None:
    pruner = DeepRewiring(alpha=0.3, temperature=1e-3, stop=1.0)
    _, weights = masks_and_weights(pruner)
    for step in weights[1:]:
        for name, weight in step.items():
            assert not bool((weight * pruner.signs[name] < 0).any())
    assert count_returns(weights) > 0


def test_one_step_by_hand() -> None:
    pruner = DeepRewiring(alpha=0.5, temperature=0.0)
    small_trainer(pruner)
    pruner.masks(0.0)
    rate = learning_rate(RECIPE, 0.2)
    kept = pruner.kept["fc1"].clone()
    weight = pruner.layer_weights()["fc1"]
    with torch.no_grad():
        weight.copy_(kept * pruner.signs["fc1"] * 0.1)
        fallen = int(kept.flatten().nonzero()[0])
        weight.view(-1)[fallen] *= 0.01  # 0.001 is below rate * alpha, so theta becomes negative
    pruner.masks(0.2)
    stay = kept.clone()
    stay.view(-1)[fallen] = False
    expected = stay * pruner.signs["fc1"] * (0.1 - 0.5 * rate)
    torch.testing.assert_close(weight.detach(), expected)
    assert bool((pruner.kept["fc1"] & stay).sum() == stay.sum())
    assert int(pruner.kept["fc1"].sum()) == int(kept.sum())


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="alpha >= 0"):
        DeepRewiring(alpha=-1.0)
