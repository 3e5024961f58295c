"""Sparse learning of DepGraph: a penalty shrinks whole units, weak units more than strong ones.

Fang et al. 2023 (arXiv 2301.12900, equations 3 and 4): let I_k be the norm of all parameters that
unit k of a group owns. The loss gets the penalty sum_k gamma_k I_k^2 with

    gamma_k = 2^(alpha (I_max - I_k) / (I_max - I_min)),   alpha = 4.

So the coupled weights of a unit vanish together. The units whose norm is smallest, relative to
their group, are removed. The penalty in this file is strength / 2 * sum gamma_k I_k^2, whose
gradient is that of the authors' code; gamma counts as a constant. It acts until the last units are
removed.

Adapted: the paper trains with the penalty, prunes once and fine-tunes (``start == stop``). Gradual
pruning during training is better within this suite's budget. The authors' strength of 5e-4 is for
SGD; Adam needs a larger one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from baselines.shared.contract import PrunerInfo
from baselines.shared.dependency_graph import relative
from baselines.shared.gradual_pruner import GradualPruner


@dataclass
class GroupNorm(GradualPruner):
    """Score a unit by the squared norm of all parameters it owns, under a penalty on this norm.

    Parameters
    ----------
    strength
        Factor of the penalty, >= 0.
    alpha
        The weakest unit of a group is penalised 2^alpha times as much as the strongest, >= 0.
    """

    info = PrunerInfo(
        name="group_norm",
        summary="A penalty shrinks the weak units of each group; the smallest are pruned.",
        paper="Fang et al. 2023, DepGraph, arXiv 2301.12900",
        granularities=("structured",),
        tracks=("from-scratch", "post-training"),
        aims_at_synops=True,
    )

    strength: float = 0.001
    alpha: float = 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.strength < 0 or self.alpha < 0:
            raise ValueError("strength and alpha must not be negative")

    def penalty(self) -> Tensor | None:
        """Return strength / 2 * sum gamma_k I_k^2 until pruning ends."""
        if self.finished:
            return None
        terms = [
            (squares * self.scaling(squares.detach(), self.alive[name])).sum()
            for name, squares in self._squared_norms().items()
        ]
        return self.strength / 2 * torch.stack(terms).sum()

    def scaling(self, squares: Tensor, alive: Tensor) -> Tensor:
        """Compute gamma of each unit of a group.

        Parameters
        ----------
        squares
            Squared norms, [units].
        alive
            Units that are not pruned, bool [units]; only they determine I_max and I_min.

        Returns
        -------
        Tensor
            gamma, [units].
        """
        norms, alive = squares.sqrt(), alive.to(squares.device)
        low, high = norms[alive].min(), norms[alive].max()
        below = (high - norms) / (high - low).clamp_min(1e-12)
        return torch.exp2(self.alpha * below * alive)

    def unit_scores(self) -> dict[str, Tensor]:
        """Group name -> squared norms divided by their mean, [units]."""
        return relative({name: s.detach() for name, s in self._squared_norms().items()})

    def _squared_norms(self) -> dict[str, Tensor]:
        """Group name -> squared norm of all parameters that each unit owns, [units]."""
        squares = {name: p.square() for name, p in self.network.named_parameters()}
        return self.context.structure.unit_sums(squares)
