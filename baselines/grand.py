"""GraNd, carried over to network parts: prune units or weights of small gradient norm.

GraNd (Paul et al. 2021, arXiv 2107.07075, definition 2.1) is the expected gradient norm of a
training *example*. This file carries it over to network parts: the score of a unit is the expected
per-example norm of the gradient of its weights, E_x ||g_unit(x)||_2, and the score of a weight is
E_x |g(x)|.

Adapted: the gradient of a sample covers all its time steps, with surrogate gradients. Scores are
recomputed before each of a few updates, because every scoring costs `samples` of the budget.
Parameters of batch norm do not count. Unit scores are divided by the mean of their group.

Single weights of small gradient are a weak criterion: a gradient is the product of an output error
and an input, so the kept weights concentrate in a few rows and columns.
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
    updates
        Number of mask updates per run; each one that falls between `start` and `stop` scores anew.
    samples
        Training samples of one scoring, >= 1; they are charged to the budget.
    """

    info = PrunerInfo(
        name="grand",
        summary="Gradual pruning of the smallest expected per-example gradient norm.",
        paper="Paul et al. 2021, Deep learning on a data diet, arXiv 2107.07075, carried over",
        granularities=("structured", "unstructured"),
        tracks=("from-scratch", "post-training"),
        aims_at_synops=True,
    )

    updates: int = 20
    samples: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.samples < 1:
            raise ValueError(f"samples must be at least 1, not {self.samples}")

    def unit_scores(self) -> dict[str, Tensor]:
        """Group name -> E_x ||g||_2 over the weights that each unit owns, relative, [units]."""
        structure = self.context.structure
        norms: dict[str, Tensor] = {}  # sums over samples
        for inputs, labels in self.probe.batches(self.samples):
            squares: dict[str, Tensor] = {}  # squared norms, [B, units]
            for layer, gradients in self.probe.per_example(inputs, labels):
                owned = structure.unit_sums({f"{layer}.weight": gradients.square_()})
                squares = {name: s + squares.get(name, 0) for name, s in owned.items()}
            norms = {name: s.sqrt().sum(0) + norms.get(name, 0) for name, s in squares.items()}
        return relative(norms)

    def weight_scores(self) -> dict[str, Tensor]:
        """Layer name -> E_x |g|, of the weight's shape; -inf for pruned weights."""
        weights = self.layer_weights()
        means = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        for inputs, labels in self.probe.batches(self.samples):
            for layer, gradients in self.probe.per_example(inputs, labels):
                if layer in means:  # the readout is not pruned
                    means[layer] += gradients.abs_().sum(0) / self.samples
        return {
            name: mean.masked_fill(weights[name] == 0, -torch.inf) for name, mean in means.items()
        }
