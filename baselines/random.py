"""Random pruning: the control that every informed method must beat."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from baselines.shared.contract import PruneContext, PrunerInfo
from baselines.shared.gradual_pruner import GradualPruner


@dataclass
class Random(GradualPruner):
    """Score units or weights by one random draw, made before training.

    It follows the same schedule as `magnitude`, so that only the criterion differs. Single weights
    are spread evenly by ``scope: layer-wise`` (uniform; ``global`` differs by chance alone), or by
    ``erk``; ``start = stop = 0`` with ``erk`` is static sparse training as in the paper.
    """

    info = PrunerInfo(
        name="random",
        summary="Random scores, drawn once; the control for every criterion.",
        paper="Liu et al. 2022, The unreasonable effectiveness of random pruning, arXiv 2202.02643",
        granularities=("structured", "unstructured", "hybrid"),
        tracks=("from-scratch", "post-training"),
    )

    def begin(self, network: nn.Module, context: PruneContext) -> None:
        """Draw the scores."""
        super().begin(network, context)
        draw = context.generator
        structure = context.structure
        self.units = {g.name: torch.rand(g.size, generator=draw) for g in structure.groups}
        self.weights = {x.name: torch.rand(x.shape, generator=draw) for x in structure.layers}

    def unit_scores(self) -> dict[str, Tensor]:
        """Return the draw."""
        return self.units

    def weight_scores(self) -> dict[str, Tensor]:
        """Return the draw."""
        return self.weights
