"""First-order Taylor expansion: the squared change of the loss when a unit or weight is removed.

Molchanov et al. 2019 (arXiv 1906.10771, equations 5-8): removing a set of parameters changes the
loss by about sum g w. So the score of the set is (sum g w)^2, computed per minibatch and averaged
over minibatches. The score of a single weight is (g w)^2. The set of a unit is all that it owns,
including the scale and shift of batch norm and the columns of the layers that read it. A filter
alone would not do: with batch norm behind it, its sum g w is always zero.

The gradients are those of training, with surrogates in spiking networks, and cost no budget. The
paper prunes every ten minibatches or more, and adds earlier scores with weight 0.9. Here a moving
average over training steps replaces both. Scores compare across layers without normalisation.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from baselines.shared.contract import PruneContext, PrunerInfo
from baselines.shared.gradual_pruner import GradualPruner


@dataclass
class Taylor(GradualPruner):
    """Score a unit by (sum g w)^2 over all it owns, and a weight by (g w)^2.

    Parameters
    ----------
    momentum
        Weight of the previous average in the moving average, in [0, 1).
    """

    info = PrunerInfo(
        name="taylor",
        summary="Gradual pruning of what changes the loss least, to first order.",
        paper="Molchanov et al. 2019, Importance estimation for pruning, arXiv 1906.10771",
        granularities=("structured", "unstructured"),
        tracks=("from-scratch", "post-training"),
        needs_gradients=True,
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
        self.scores: dict[str, Tensor] = {}  # by group name or layer name

    @torch.no_grad()
    def gradients(self) -> None:
        """Update the moving averages with the scores of a minibatch."""
        if self.finished:
            return
        structure = self.context.structure
        parameters = dict(self.network.named_parameters())
        if not structure.groups:
            parameters = {layer.name: parameters[layer.weight] for layer in structure.layers}
        products = {n: p * p.grad for n, p in parameters.items() if p.grad is not None}
        changes = structure.unit_sums(products) if structure.groups else products
        for name, change in changes.items():
            squares = change.square_()
            self.scores[name] = self.scores.get(name, squares).lerp(squares, 1 - self.momentum)

    def unit_scores(self) -> dict[str, Tensor]:
        """Group name -> averages of (sum g w)^2, [units]."""
        return self.scores

    def weight_scores(self) -> dict[str, Tensor]:
        """Layer name -> averages of (g w)^2, of the weight's shape; -inf for pruned weights."""
        weights = self.layer_weights()
        return {
            name: score.masked_fill(weights[name] == 0, -torch.inf)
            for name, score in self.scores.items()
        }
