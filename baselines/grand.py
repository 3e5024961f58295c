"""Gradient norm: what the loss hardly depends on goes first.

GraNd (Paul et al. 2021, arXiv 2107.07075, definition 2.1) is the expected gradient norm of a
training *example*. This is the carried-over form, a score of network parts instead: the expected
per-example gradient norm of a unit's weights, E_x ||g_unit(x)||_2, or of one weight, E_x |g(x)|.

Adapted: a sample's gradient is that of all its time steps, through surrogate gradients; scored
anew before each of few updates, as every score costs `samples` of the budget. Batch norm's own
parameters are left out. Units compare relative to their group's mean. Single weights fare badly:
a gradient is output error times input, so what it keeps lies in few rows and columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from baselines.shared.contract import PrunerInfo
from baselines.shared.dependency_graph import relative
from baselines.shared.gradual_pruner import GradualPruner


@dataclass
class Grand(GradualPruner):
    """Score a unit or a weight by its expected per-example gradient norm.

    Parameters
    ----------
    samples
        Training samples that each scoring passes.
    """

    info = PrunerInfo(
        name="grand",
        summary="Gradual pruning of the smallest expected per-example gradient norm.",
        paper="Paul et al. 2021, Deep learning on a data diet, arXiv 2107.07075, carried over",
        granularities=("structured", "unstructured"),
        tracks=("from-scratch", "post-training"),
    )

    updates: int = 20
    samples: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.samples < 1:
            raise ValueError(f"samples must be at least 1, not {self.samples}")

    def unit_scores(self) -> dict[str, Tensor]:
        """Group name -> E_x ||g||_2 over the weights that each unit owns."""
        structure = self.context.structure
        total: dict[str, Tensor] = {}
        for inputs, labels in self.probe.batches(self.samples):
            squares: dict[str, Tensor] = {}
            for layer, gradients in self.probe.per_example(inputs, labels):
                owned = structure.unit_sums({f"{layer}.weight": gradients.square_()})
                squares = {name: s + squares.get(name, 0) for name, s in owned.items()}
            total = {n: s.sqrt().sum(0) + total.get(n, 0) for n, s in squares.items()}
        return relative(total)

    def weight_scores(self) -> dict[str, Tensor]:
        """Layer name -> E_x |g|; weights that are gone stay away."""
        weights = self.layer_weights()
        total = {name: torch.zeros_like(w) for name, w in weights.items()}
        for inputs, labels in self.probe.batches(self.samples):
            for layer, gradients in self.probe.per_example(inputs, labels):
                if layer in total:
                    total[layer] += gradients.abs_().sum(0) / self.samples
        return {n: t.masked_fill(weights[n] == 0, -torch.inf) for n, t in total.items()}
