"""SNIP scores, by hand and against a training step."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from baselines.snip import Snip
from tests.helpers.methods import (
    begin_with_probe,
    quadratic_scores,
)


def test_scores_by_hand() -> None:
    # g = H w = (2 * 1 + 1 * -3, 1 * 1 + 4 * -3) = (-1, -11); two samples add up.
    scores = quadratic_scores(Snip(samples=2), [1.0, -3.0], [[2.0, 1.0], [1.0, 4.0]])
    assert scores.tolist() == [2.0, 66.0]


@pytest.mark.parametrize("kind", ["snn", "ann"])
def test_score_is_weight_times_gradient_of_a_training_step(kind: str) -> None:
    pruner = Snip(samples=8)
    net, probe = begin_with_probe(pruner, 0.5, kind=kind)
    scores = pruner.weight_scores()
    loss = functional.cross_entropy(net.train()(probe._train.inputs), probe._train.labels)
    loss.backward()
    for name, weight in pruner.layer_weights().items():
        assert weight.grad is not None
        torch.testing.assert_close(scores[name], 8 * (weight * weight.grad).detach().abs())
    assert probe.meter.phases == {"saliency": 8}


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="samples must be at least 1"):
        Snip(samples=0)
