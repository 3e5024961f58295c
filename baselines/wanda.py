"""Wanda: weight times the norm of its input (Sun et al. 2024, arXiv 2306.11695).

The score of a weight w_ij is abs(w_ij) * ||x_j||, where ||x_j|| is the l2 norm of input j over
samples. Weights are compared within one output i, so that every output keeps the same share.

Adapted: the paper prunes a trained language model once, on 128 samples; here pruning is gradual. An
input of a convolution is a channel, and its norm is that of the feature map. The norm covers all
time steps. It is a moving average over training batches, measured in one step out of 16, and costs
no budget.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from baselines.shared.contract import Activity, PruneContext, PrunerInfo
from baselines.shared.gradual_pruner import GradualPruner
from baselines.shared.selection import Scope

#: Training steps per measurement of the norms.
INTERVAL = 16


@dataclass
class Wanda(GradualPruner):
    """Score a weight by its magnitude times the norm of its input.

    Parameters
    ----------
    momentum
        Weight of the previous average in the moving average of the squared norms, in [0, 1).
    per_output
        True: weights are compared within one output unit, as in the paper. False: within the scope.
    """

    info = PrunerInfo(
        name="wanda",
        summary="Gradual pruning by weight magnitude times the norm of the input.",
        paper="Sun et al. 2024, A simple and effective pruning approach, arXiv 2306.11695",
        granularities=("unstructured",),
        tracks=("from-scratch", "post-training"),
        needs_activity=True,
        aims_at_synops=True,
    )

    scope: Scope = "layer-wise"
    momentum: float = 0.9
    per_output: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), not {self.momentum}")

    def begin(self, network: nn.Module, context: PruneContext) -> None:
        """Start the averages."""
        super().begin(network, context)
        self.seen = 0
        self.power: dict[str, Tensor] = {}  # layer name -> mean squared norm [inputs]

    @torch.no_grad()
    def observe(self, activity: Activity) -> None:
        """Update the squared norms of the inputs, in one step out of 16."""
        self.seen += 1
        if self.seen % INTERVAL != 1 or self.finished:
            return
        for layer in self.context.structure.layers:
            inputs = activity[layer.name][0].float()
            power = inputs.square().mean((0, 1)).view(inputs.shape[2], -1).sum(1)
            old = self.power.get(layer.name, power)
            self.power[layer.name] = old.lerp(power, 1 - self.momentum)

    def weight_scores(self) -> dict[str, Tensor]:
        """Layer name -> scores of the weight's shape; magnitudes before the first batch."""
        scores = {}
        for name, weight in self.layer_weights().items():
            score = weight.detach().abs()
            if name in self.power:
                score = score * self.power[name].sqrt().view(1, -1, *[1] * (score.dim() - 2))
            scores[name] = row_ranks(score) if self.per_output else score
        return scores


def row_ranks(scores: Tensor) -> Tensor:
    """Share of scores in the same row that are smaller, in [0, 1), of the shape of `scores`."""
    rows = scores.flatten(1)
    smaller = torch.searchsorted(rows.sort(1).values, rows)
    return smaller.view_as(scores) / scores[0].numel()
