"""Firing rate: prune the units that fire least; the control for criteria based on activity.

The score of a unit is its number of spikes, summed over its feature map, per time step and sample.
For ReLU networks it is the sum of activations instead. (Hu et al. 2016, network trimming, arXiv
1607.03250, score a unit by how often its activation is zero.) The score is a moving average over
training batches, divided by the mean score of the unit's group. It does not consider how a spike
affects the loss. It costs no budget.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from baselines.shared.contract import Activity, PruneContext, PrunerInfo
from baselines.shared.dependency_graph import relative
from baselines.shared.gradual_pruner import GradualPruner


@dataclass
class FiringRate(GradualPruner):
    """Score a unit by its mean firing rate.

    Parameters
    ----------
    momentum
        Weight of the previous average in the moving average, in [0, 1).
    """

    info = PrunerInfo(
        name="firing_rate",
        summary="Gradual pruning of the units that fire least; the control for activity.",
        paper="Hu et al. 2016, Network trimming, arXiv 1607.03250, with rates for zeros",
        granularities=("structured",),
        tracks=("from-scratch", "post-training"),
        needs_activity=True,
        aims_at_synops=True,
    )

    momentum: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), not {self.momentum}")

    def begin(self, network: nn.Module, context: PruneContext) -> None:
        """Start the averages."""
        super().begin(network, context)
        self.rates: dict[str, Tensor] = {}

    @torch.no_grad()
    def observe(self, activity: Activity) -> None:
        """Update the moving averages with the firing rates of a batch."""
        if self.finished:
            return
        structure = self.context.structure
        for group in structure.groups:
            layers = structure.emitters(group)
            rate = torch.stack([activity.sent(layer).mean((0, 1)) for layer in layers]).sum(0)
            self.rates[group.name] = self.rates.get(group.name, rate).lerp(rate, 1 - self.momentum)

    def unit_scores(self) -> dict[str, Tensor]:
        """Group name -> firing rates divided by their mean, [units]."""
        return relative(self.rates)
