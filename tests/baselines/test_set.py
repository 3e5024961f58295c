"""SET: ranks by sign."""

from __future__ import annotations

import torch

from baselines.set import SparseEvolutionaryTraining


def test_the_same_share_of_each_sign_is_dropped() -> None:
    weight = torch.tensor([0.1, 0.2, 0.3, 0.4, -5.0, -6.0, -7.0, -8.0])
    scores = SparseEvolutionaryTraining().drop_scores(weight)
    assert scores.tolist() == [0.0, 0.25, 0.5, 0.75, 0.0, 0.25, 0.5, 0.75]
