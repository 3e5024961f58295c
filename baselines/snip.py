"""SNIP: connection sensitivity at initialisation (Lee et al. 2019, arXiv 1810.02340).

A weight w stands behind a switch c = 1. Its score is abs(dL/dc) = abs(w * dL/dw), with L the mean
loss over some training samples; the best are kept, in one shot, before the first training step.

The paper uses one batch of 100 to 128 samples. Here the gradient goes through the surrogate of the
spikes and through all time steps, and its samples are taken from the training budget.
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
    samples
        Training samples per scoring.
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
        """Layer name -> connection sensitivity."""
        weights = self.layer_weights()
        batches = [
            torch.autograd.grad(
                self.probe.loss(inputs, labels, reduction="sum"), list(weights.values())
            )
            for inputs, labels in self.probe.batches(self.samples)
        ]
        parts = zip(weights.items(), zip(*batches, strict=True), strict=True)
        return {name: (w.detach() * torch.stack(g).sum(0)).abs() for (name, w), g in parts}
