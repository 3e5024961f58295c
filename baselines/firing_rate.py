"""Firing rate: units that fire least go first; the control for criteria made of activity.

The score is the mean number of spikes of a unit per step and sample, for ReLU networks its mean
activation (Hu et al. 2016, network trimming, arXiv 1607.03250, judges by how often it is zero),
as a moving average over training batches, relative to the mean of its layer. It knows nothing
of what a spike is worth. It costs no budget.
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
        Weight of the average so far against the newest batch, in [0, 1).
    """

    info = PrunerInfo(
        name="firing_rate",
        summary="Gradual pruning of the units that fire least; the control for activity.",
        paper="Hu et al. 2016, Network trimming, arXiv 1607.03250, with rates for zeros",
        granularities=("structured",),
        tracks=("from-scratch", "post-training"),
        needs_activity=True,
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
        """Average the rates of this batch in, summed over each unit's map."""
        for group in self.context.structure.groups if not self.finished else ():
            layers = self.context.structure.emitters(group)
            rate = torch.stack([activity.sent(x).mean((0, 1)) for x in layers]).sum(0)
            self.rates[group.name] = self.rates.get(group.name, rate).lerp(rate, 1 - self.momentum)

    def unit_scores(self) -> dict[str, Tensor]:
        """Group name -> rates relative to the group's mean."""
        return relative(self.rates)
