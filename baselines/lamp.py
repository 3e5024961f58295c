"""LAMP: layer-adaptive magnitude, the square of a weight relative to the weights that would stay.

Lee et al. 2021 (arXiv 2010.07611, equation 1): sort the weights of a layer by magnitude, in
ascending order. The score of weight u is w_u^2 / sum_{v >= u} w_v^2. Compared globally, these
scores determine the density of each layer. The largest weight of a layer has score 1, so no layer
vanishes.

For units, the same normalisation applies to the squared norms of a group (LAMPImportance of
torch-pruning). The paper prunes a trained network iteratively; here pruning is gradual. The method
has no hyper-parameter besides the schedule.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch_pruning as tp
from torch import Tensor

from baselines.shared.contract import PrunerInfo
from baselines.shared.dependency_graph import unit_scores
from baselines.shared.gradual_pruner import GradualPruner
from baselines.shared.lamp_scores import lamp, over_larger


@dataclass
class Lamp(GradualPruner):
    """Score a weight by its square divided by the sum of the squares that are not smaller."""

    info = PrunerInfo(
        name="lamp",
        summary="Gradual pruning by magnitude relative to the larger weights of the layer.",
        paper="Lee et al. 2021, Layer-adaptive sparsity, arXiv 2010.07611",
        granularities=("structured", "unstructured"),
        tracks=("from-scratch", "post-training"),
        aims_at_synops=True,
    )

    def unit_scores(self) -> dict[str, Tensor]:
        """Group name -> scores [units]."""
        norms = tp.importance.GroupMagnitudeImportance(p=2, group_reduction="mean", normalizer=None)
        scores = unit_scores(self.context.structure, norms)
        return {name: over_larger(score) for name, score in scores.items()}

    def weight_scores(self) -> dict[str, Tensor]:
        """Layer name -> scores of the weight's shape."""
        return {name: lamp(weight.detach()) for name, weight in self.layer_weights().items()}
