"""SET: ranks by sign."""

from __future__ import annotations

import torch

from baselines.set import SparseEvolutionaryTraining
from tests.helpers.methods import begin, constant_network


def test_the_same_share_of_each_sign_is_dropped() -> None:
    weight = torch.tensor([0.1, 0.2, 0.3, 0.4, -5.0, -6.0, -7.0, -8.0])
    pruner = begin(SparseEvolutionaryTraining(), constant_network(), "unstructured")
    scores = pruner.drop_scores(weight)
    assert scores.tolist() == [0.0, 0.25, 0.5, 0.75, 0.0, 0.25, 0.5, 0.75]


def test_equal_weights_are_ranked_by_the_generator() -> None:
    pruner = begin(SparseEvolutionaryTraining(), constant_network(), "unstructured")
    weight = torch.cat([torch.ones(50), -torch.ones(50)])
    one, two = pruner.drop_scores(weight), pruner.drop_scores(weight)
    assert sorted(one[:50].tolist()) == sorted(one[50:].tolist())
    assert not one.equal(two)
