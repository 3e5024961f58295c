"""Magnitude pruning: prune the smallest weights, or the units of smallest norm."""

from __future__ import annotations

from dataclasses import dataclass

import torch_pruning as tp
from torch import Tensor

from baselines.shared.contract import PrunerInfo
from baselines.shared.dependency_graph import unit_scores
from baselines.shared.gradual_pruner import GradualPruner


@dataclass
class Magnitude(GradualPruner):
    """Score a weight by abs(w), and a unit by the norm of all that it owns.

    The unit score is the group magnitude of torch-pruning: the p-norm to the power p, averaged over
    the parameter slices that the unit owns. It is divided by its mean in the group, so that groups
    of different fan-in compare (DepGraph, arXiv 2301.12900).

    Weights compare over the whole network with scope ``global``, and within a layer with scope
    ``layer-wise``. From `start` to `stop` the density follows the cubic schedule of gradual
    magnitude pruning. ``start == stop`` is one-shot pruning, as Han et al. 2015 (arXiv 1506.02626)
    prune a trained network.

    Parameters
    ----------
    p
        Exponent of the norm of a unit: 1 or 2.
    """

    info = PrunerInfo(
        name="magnitude",
        summary="Gradual pruning of the smallest weights, or of the units of smallest norm.",
        paper="Zhu and Gupta 2017, To prune, or not to prune, arXiv 1710.01878",
        granularities=("structured", "unstructured", "hybrid"),
        tracks=("from-scratch", "post-training"),
        aims_at_synops=True,
    )

    p: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.p not in (1, 2):
            raise ValueError(f"p must be 1 or 2, not {self.p}")

    def unit_scores(self) -> dict[str, Tensor]:
        """Group name -> group magnitudes divided by their mean, [units]."""
        importance = tp.importance.GroupMagnitudeImportance(
            p=self.p, group_reduction="mean", normalizer=None
        )
        scores = unit_scores(self.context.structure, importance)
        return {name: score / score.mean().clamp_min(1e-12) for name, score in scores.items()}

    def weight_scores(self) -> dict[str, Tensor]:
        """Layer name -> absolute weights, of the weight's shape."""
        return {name: weight.abs() for name, weight in self.layer_weights().items()}
