"""GraSP scores, by hand and against autograd."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from baselines.grasp import Grasp
from tests.helpers.methods import (
    begin_with_probe,
    initial_masks,
    quadratic_scores,
)


def test_scores_by_hand_with_their_sign() -> None:
    # g = (-1, -11), H g = (2 * -1 - 11, -1 - 44) = (-13, -45); w * Hg = (-13, 135).
    pruner = Grasp(samples=1)
    scores = quadratic_scores(pruner, [1.0, -3.0], [[2.0, 1.0], [1.0, 4.0]])
    assert scores.tolist() == [-13.0, 135.0]
    # |g|^2 is 122. Without the first weight g = (-3, -12), 153; without the second (2, 1), 5.
    assert initial_masks(pruner)["fc1.weight"].tolist() == [[False, True]], (
        "its removal lets the flow dry up"
    )
    # Two samples: H and g double each.
    both = quadratic_scores(Grasp(samples=2), [1.0, -3.0], [[2.0, 1.0], [1.0, 4.0]])
    assert both.tolist() == [-52.0, 540.0]


def test_temperature_divides_class_scores_and_samples_are_charged_twice() -> None:
    pruner = Grasp(samples=8, temperature=10.0)
    net, probe = begin_with_probe(pruner, 0.5)
    scores = pruner.weight_scores()
    assert probe.meter.phases == {"saliency": 16}
    weights = list(pruner.layer_weights().values())
    logits = net.train()(probe._train.inputs) / 10.0
    loss = functional.cross_entropy(logits, probe._train.labels, reduction="sum")
    flow = torch.autograd.grad(loss, weights, create_graph=True)
    norm = sum(((g * g).sum() for g in flow), torch.zeros(()))
    half = torch.autograd.grad(0.5 * norm, weights)
    for found, weight, slope in zip(scores.values(), weights, half, strict=True):
        torch.testing.assert_close(found, weight.detach() * slope, rtol=1e-3, atol=1e-7)


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="temperature > 0"):
        Grasp(temperature=0.0)
