"""Random pruning: the control that every informed method must beat."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from baselines.shared.contract import PruneContext, PrunerInfo
from baselines.shared.gradual_pruner import GradualPruner
from baselines.shared.selection import Scope


@dataclass
class Random(GradualPruner):
    """Give units and weights random scores, drawn once before training.

    Scope ``layer-wise`` gives all layers the same share of units, and the same density of single
    weights. Under ``global`` the shares of units vary by chance from layer to layer, which costs
    accuracy. ``start = stop = 0`` with ``erk`` is static sparse training, as in the paper.

    Parameters
    ----------
    scope
        As for all gradual methods.
    """

    info = PrunerInfo(
        name="random",
        summary="Random scores, drawn once; the control for every criterion.",
        paper="Liu et al. 2022, The unreasonable effectiveness of random pruning, arXiv 2202.02643",
        granularities=("structured", "unstructured", "hybrid"),
        tracks=("from-scratch", "post-training"),
    )

    scope: Scope = "layer-wise"

    def begin(self, network: nn.Module, context: PruneContext) -> None:
        """Draw the scores."""
        super().begin(network, context)
        generator, structure = context.generator, context.structure
        self.units = {
            group.name: torch.rand(group.size, generator=generator) for group in structure.groups
        }
        self.weights = {
            layer.name: torch.rand(layer.shape, generator=generator) for layer in structure.layers
        }

    def unit_scores(self) -> dict[str, Tensor]:
        """Group name -> the drawn scores, [units]."""
        return self.units

    def weight_scores(self) -> dict[str, Tensor]:
        """Layer name -> the drawn scores, of the weight's shape."""
        return self.weights
