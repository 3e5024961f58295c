"""First-order Taylor expansion: the squared change of the loss when a unit goes.

Molchanov et al. 2019 (arXiv 1906.10771, equations 5-8): the loss changes by about sum g w over a
set of parameters, so its score is (sum g w)^2, of each minibatch, averaged over minibatches; a
weight's is (g w)^2. A unit's set is all that it owns, batch norm's scale and shift and the
columns of its readers included: with batch norm behind it, a filter's own sum is always zero.

The gradients are those of training, through surrogates in spiking networks, and cost no budget.
The paper prunes every ten minibatches or more and lets scores of before count 0.9: a moving
average over steps stands for both. Scores compare across layers as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from baselines.shared.contract import PruneContext, PrunerInfo
from baselines.shared.gradual_pruner import GradualPruner


@dataclass
class Taylor(GradualPruner):
    """Score a unit by (sum g w)^2 over all it owns, a weight by (g w)^2.

    Parameters
    ----------
    momentum
        Weight of the average so far against the newest minibatch, in [0, 1).
    """

    info = PrunerInfo(
        name="taylor",
        summary="Gradual pruning of what changes the loss least to first order.",
        paper="Molchanov et al. 2019, Importance estimation for pruning, arXiv 1906.10771",
        granularities=("structured", "unstructured"),
        tracks=("from-scratch", "post-training"),
        needs_gradients=True,
    )

    momentum: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), not {self.momentum}")

    def begin(self, network: nn.Module, context: PruneContext) -> None:
        """Start the averages."""
        super().begin(network, context)
        self.scores: dict[str, Tensor] = {}

    @torch.no_grad()
    def gradients(self) -> None:
        """Average the scores of this minibatch in."""
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
        """Group name -> averages [units]."""
        return self.scores

    def weight_scores(self) -> dict[str, Tensor]:
        """Layer name -> averages; weights that are gone stay away."""
        weights = self.layer_weights()
        return {n: s.masked_fill(weights[n] == 0, -torch.inf) for n, s in self.scores.items()}
