"""SNIP: connection sensitivity at initialisation (Lee et al. 2019, arXiv 1810.02340).

Multiply each weight w by an indicator c = 1. The score of the weight is abs(dL/dc) =
abs(w * dL/dw), where L is the mean loss over some training samples. The weights with the highest
scores are kept, in one shot, before the first training step.

The paper uses one batch of 100 to 128 samples. Here the gradient goes through the surrogate of the
spikes and through all time steps, and the samples are charged to the training budget.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from baselines.shared.contract import PrunerInfo
from baselines.shared.gradual_pruner import GradualPruner
from baselines.shared.selection import Scope


@dataclass
class Snip(GradualPruner):
    """Score a weight by abs(w * dL/dw).

    Parameters
    ----------
    start, stop, updates, scope
        As for all gradual methods; the defaults prune once, before training.
    samples
        Training samples of one scoring, >= 1.
    """

    info = PrunerInfo(
        name="snip",
        summary="One shot at initialisation: keep the weights whose removal changes the loss most.",
        paper="Lee et al. 2019, SNIP, arXiv 1810.02340",
        granularities=("unstructured",),
    )

    start: float = 0.0
    stop: float = 0.0
    updates: int = 1
    scope: Scope = "global"
    samples: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.samples < 1:
            raise ValueError(f"samples must be at least 1, not {self.samples}")

    def weight_scores(self) -> dict[str, Tensor]:
        """Layer name -> abs(w * dL/dw) with L summed over samples, of the weight's shape."""
        weights = self.layer_weights()
        gradients = [
            torch.autograd.grad(
                self.probe.loss(inputs, labels, reduction="sum"), list(weights.values())
            )
            for inputs, labels in self.probe.batches(self.samples)
        ]
        scores = {}
        for (name, weight), parts in zip(
            weights.items(), zip(*gradients, strict=True), strict=True
        ):
            scores[name] = (weight.detach() * torch.stack(parts).sum(0)).abs()
        return scores
