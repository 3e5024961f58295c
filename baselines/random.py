"""Random pruning: the control that every informed method must beat."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from baselines.shared.contract import PruneContext, PrunerInfo
from baselines.shared.gradual_pruner import GradualPruner
from baselines.shared.masks import Masks
from baselines.shared.schedules import cubic_density
from baselines.shared.selection import Scope

#: Share of the (unit, time step) pairs that spatio-temporal pruning has silenced at `stop`. DPAP's
#: joint form silences about as many: one in four steps.
SILENCED = 0.25


@dataclass
class Random(GradualPruner):
    """Give units and weights random scores, drawn once before training.

    Scope ``layer-wise`` gives all layers the same share of units, and the same density of single
    weights. Under ``global`` the shares of units vary by chance from layer to layer, which costs
    accuracy. ``start = stop = 0`` with ``erk`` is static sparse training, as in the paper.

    Granularity ``spatio-temporal`` prunes units and weights as ``hybrid`` does, and silences a
    quarter of the time steps of the units, along the same schedule.

    Parameters
    ----------
    scope
        As for all gradual methods.
    """

    info = PrunerInfo(
        name="random",
        summary="Random scores, drawn once; the control for every criterion.",
        paper="Liu et al. 2022, The unreasonable effectiveness of random pruning, arXiv 2202.02643",
        granularities=("structured", "unstructured", "hybrid", "spatio-temporal"),
        tracks=("from-scratch", "post-training"),
        aims_at_synops=True,
    )

    scope: Scope = "layer-wise"

    def begin(self, network: nn.Module, context: PruneContext) -> None:
        """Draw the scores."""
        temporal = context.granularity == "spatio-temporal"
        super().begin(network, replace(context, granularity="hybrid") if temporal else context)
        generator, structure = context.generator, context.structure
        self.units = {
            group.name: torch.rand(group.size, generator=generator) for group in structure.groups
        }
        self.weights = {
            layer.name: torch.rand(layer.shape, generator=generator) for layer in structure.layers
        }
        self.steps = {
            layer.name: torch.rand(layer.shape[0], context.steps, generator=generator)
            for layer in structure.layers
            if temporal and layer.drives is None
        }

    def masks(self, progress: float) -> Masks | None:
        """Select by the drawn scores if an update is due; also time steps, if they are pruned."""
        masks = super().masks(progress)
        if masks is None or not self.steps:
            return masks
        share = SILENCED * (1 - cubic_density(progress, self.start, self.stop, 0.0))
        return replace(masks, steps={name: kept >= share for name, kept in self.steps.items()})

    def unit_scores(self) -> dict[str, Tensor]:
        """Group name -> the drawn scores, [units]."""
        return self.units

    def weight_scores(self) -> dict[str, Tensor]:
        """Layer name -> the drawn scores, of the weight's shape."""
        return self.weights
