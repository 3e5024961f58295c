"""SET: sparse evolutionary training (Mocanu et al. 2018, arXiv 1707.04780).

Sparse from the start with an Erdos-Renyi draw; after each epoch a layer drops the fraction 0.3 of
its smallest positive and of its largest negative weights, and grows as many at random places.

Adapted: convolutions take part, with Erdos-Renyi-kernel densities; new weights start at zero; the
last part of the budget trains what was found, where the paper only spares the last epoch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from baselines.shared.contract import PrunerInfo
from baselines.shared.selection import Scope
from baselines.shared.sparse_training import SparseTraining


@dataclass
class SparseEvolutionaryTraining(SparseTraining):
    """Drop the weights nearest to zero, of either sign, and grow at random."""

    info = PrunerInfo(
        name="set",
        summary="Sparse training that drops small weights and grows new ones at random.",
        paper="Mocanu et al. 2018, arXiv 1707.04780",
        granularities=("unstructured",),
    )

    fraction: float = 0.3
    updates: int = 15
    stop: float = 0.75
    scope: Scope = "erk"

    def drop_scores(self, weight: Tensor) -> Tensor:
        """Rank of the magnitude among weights of the same sign, in [0, 1)."""
        scores = torch.zeros_like(weight)
        for side in (weight > 0, weight < 0):
            ranks = weight[side].abs().argsort().argsort()
            scores[side] = ranks / max(1, len(ranks))
        return scores
