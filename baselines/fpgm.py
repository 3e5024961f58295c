"""FPGM: prune the filters that the other filters of the layer can replace.

He et al. 2019 (filter pruning via geometric median, arXiv 1811.00250, equation 5): the filter
nearest to the geometric median of its layer is redundant, whatever its norm. It is the filter with
the smallest sum of Euclidean distances to all filters of the layer. Every layer loses the same
share of filters, as in the paper (scope layer-wise).

This file computes distances between weights. FPGMImportance of torch-pruning computes distances
between squared weights.

Adapted: the paper sets filters to zero after each epoch but lets them recover. Here they are
removed for good, along the gradual schedule, and distances to removed filters no longer count.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from baselines.shared.contract import PrunerInfo
from baselines.shared.gradual_pruner import GradualPruner
from baselines.shared.selection import Scope


@dataclass
class FPGM(GradualPruner):
    """Score a unit by the sum of the distances between its filter and the layer's other filters."""

    info = PrunerInfo(
        name="fpgm",
        summary="Gradual pruning of the filters nearest to their layer's geometric median.",
        paper="He et al. 2019, Filter pruning via geometric median, arXiv 1811.00250",
        granularities=("structured",),
        tracks=("from-scratch", "post-training"),
        aims_at_synops=True,
    )

    scope: Scope = "layer-wise"

    @torch.no_grad()
    def unit_scores(self) -> dict[str, Tensor]:
        """Group name -> sums of distances [units], divided by their mean over alive units."""
        scores = {}
        weights = self.layer_weights()
        for group in self.context.structure.groups:
            filters = torch.cat([weights[name].flatten(1) for name in group.producers], dim=1)
            alive = self.alive[group.name].to(filters.device)
            distances = torch.cdist(filters, filters[alive]).sum(1)
            scores[group.name] = distances / distances[alive].mean().clamp_min(1e-12)
        return scores
