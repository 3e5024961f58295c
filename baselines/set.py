"""SET: sparse evolutionary training (Mocanu et al. 2018, arXiv 1707.04780).

Training is sparse from the start, with random connections at Erdos-Renyi densities. After each
epoch a layer drops the fraction 0.3 of its positive weights and of its negative weights, those
nearest to zero, and grows as many connections at random places.

Adapted: convolutions are sparse too, and layers have Erdos-Renyi-kernel densities. New weights
start at zero. Connections are fixed in the last part of the budget, whereas in the paper only the
last epoch has no exchange.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from baselines.shared.contract import PrunerInfo, Quantity
from baselines.shared.selection import Scope, random_ranks
from baselines.shared.sparse_training import SparseTraining


@dataclass
class SparseEvolutionaryTraining(SparseTraining):
    """Drop the positive and the negative weights nearest to zero, and grow connections at random.

    Parameters
    ----------
    fraction, updates, stop, scope
        As in `SparseTraining`.
    """

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
        """Rank of each weight's magnitude among the weights of its sign, in [0, 1)."""
        scores = torch.zeros_like(weight)
        for same_sign in (weight > 0, weight < 0):
            sizes = weight[same_sign].abs().detach().cpu()
            ranks = random_ranks(sizes, self.context.generator).to(scores)
            scores[same_sign] = ranks / max(1, len(ranks))
        return scores

    def fidelity(self) -> tuple[Quantity, ...]:
        """Share of a layer's connections that the first exchange replaces."""
        return (Quantity("share exchanged by the first update", self.fraction, "0.3", 0.01),)
