"""Layer-adaptive magnitude: a weight's share of what its layer would keep.

Lee et al. 2021 (arXiv 2010.07611, equation 1): with a layer's weights in ascending order, the
score of weight u is w_u^2 / sum_{v >= u} w_v^2. Compared globally, it sets the layers' densities
by itself; the largest weight of a layer scores 1, so no layer vanishes.

Units: the same normalisation over a group's squared norms (torch-pruning's LAMPImportance).
The paper prunes a trained network iteratively; here pruning is gradual. No setting of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch_pruning as tp
from torch import Tensor

from baselines.shared.contract import PrunerInfo
from baselines.shared.dependency_graph import unit_scores
from baselines.shared.gradual_pruner import GradualPruner


@dataclass
class Lamp(GradualPruner):
    """Score by the square over the sum of the squares that are not smaller."""

    info = PrunerInfo(
        name="lamp",
        summary="Gradual pruning by magnitude relative to what the layer keeps.",
        paper="Lee et al. 2021, Layer-adaptive sparsity, arXiv 2010.07611",
        granularities=("structured", "unstructured"),
        tracks=("from-scratch", "post-training"),
    )

    def unit_scores(self) -> dict[str, Tensor]:
        """Group name -> scores [units]."""
        return unit_scores(self.context.structure, tp.importance.LAMPImportance(p=2))

    def weight_scores(self) -> dict[str, Tensor]:
        """Layer name -> scores of each weight."""
        return {name: lamp(weight.detach()) for name, weight in self.layer_weights().items()}


def lamp(weight: Tensor) -> Tensor:
    """Squares over the sums of all squares from there on, in ascending order."""
    squares, order = weight.double().square().flatten().sort()  # single precision loses the small
    rest = squares.flip(0).cumsum(0).flip(0).clamp_min(torch.finfo(torch.double).tiny)
    return torch.empty_like(squares).scatter_(0, order, squares / rest).view_as(weight)
