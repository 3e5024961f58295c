"""SynFlow: iterative pruning at initialisation without data (Tanaka et al. 2020, arXiv 2006.05467).

With absolute weights, an input of ones, and neurons and batch norm left out, let R be the sum of
the network's outputs. A weight's score is w * dR/dw. Scores are conserved: those into a neuron
sum to those out of it, so a layer that gets small gets high scores and none vanishes, if pruning
is done in many rounds: after round k of n a share density^(k / n) is left. The paper uses n = 100.

R grows as a product over layers; it is computed in double precision. No sample is spent. Pooling
is part of the network; average pooling and, for positive inputs, max pooling keep the law.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from baselines.shared.contract import PrunerInfo
from baselines.shared.gradual_pruner import GradualPruner
from baselines.shared.selection import Scope


@dataclass
class SynFlow(GradualPruner):
    """Score a weight by its synaptic flow, anew after each of several rounds.

    Parameters
    ----------
    rounds
        Rounds of one scoring; the last one's scores are selected from.
    """

    info = PrunerInfo(
        name="synflow",
        summary="Many rounds at initialisation, without data: keep the weights of largest flow.",
        paper="Tanaka et al. 2020, arXiv 2006.05467",
        granularities=("unstructured",),
    )

    start: float = 0.0
    stop: float = 0.0
    updates: int = 1
    scope: Scope = "global"
    rounds: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rounds < 1:
            raise ValueError(f"rounds must be at least 1, not {self.rounds}")

    def weight_scores(self) -> dict[str, Tensor]:
        """Layer name -> flow after all rounds but the last; -inf where a round has pruned."""
        assert self.context.density is not None
        weights = {n: p.detach().double().abs() for n, p in self.network.named_parameters()}
        names = {x.name: x.weight for x in self.context.structure.layers}
        kept = {name: weights[name] > 0 for name in names.values()}
        scores = self.flow(weights)
        for k in range(1, self.rounds):
            number = round(
                self.context.density ** (k / self.rounds) * self.context.structure.prunable
            )
            merged = torch.cat([scores[name][kept[name]] for name in names.values()])
            worst = merged.topk(min(number, len(merged)), sorted=False).values.min()
            for name in names.values():
                kept[name] &= scores[name] >= worst
                weights[name] *= kept[name]
            scores = self.flow(weights)
        return {x: scores[name].masked_fill(~kept[name], -torch.inf) for x, name in names.items()}

    def flow(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Parameter name -> w * dR/dw at some positive weights."""
        names = [layer.weight for layer in self.context.structure.layers]
        leaves = {n: w.clone().requires_grad_(n in names) for n, w in weights.items()}
        total = self.probe.linear(torch.ones_like(self.probe.example(), dtype=torch.double), leaves)
        gradients = torch.autograd.grad(total.sum(), [leaves[name] for name in names])
        return {n: weights[n] * gradient for n, gradient in zip(names, gradients, strict=True)}
