"""SynFlow: iterative pruning at initialisation without data (Tanaka et al. 2020, arXiv 2006.05467).

Replace all weights by their absolute values, the input by ones, and leave out neurons and batch
norm. Let R be the sum of the network's outputs. The score of a weight is w * dR/dw. The scores are
conserved: the scores of the weights into a neuron sum to those of the weights out of it. So the
weights of a layer that becomes small get high scores, and no layer vanishes if pruning is done in
many rounds. After round k of n the density is density^(k / n). The paper uses n = 100.

R grows as a product over layers, so it is computed in double precision. No sample is charged to the
budget. Pooling is part of the network: scores are conserved under average pooling and, for positive
inputs, under max pooling.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from baselines.shared.contract import PrunerInfo, Quantity
from baselines.shared.gradual_pruner import GradualPruner
from baselines.shared.selection import Scope


@dataclass
class SynFlow(GradualPruner):
    """Score a weight by its synaptic flow, recomputed after each of several pruning rounds.

    Parameters
    ----------
    start, stop, updates, scope
        As for all gradual methods; the defaults prune once, before training.
    rounds
        Number of rounds, >= 1. `select` makes the last one, by the scores of this method.
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
        structure, density = self.context.structure, self.context.density
        assert density is not None
        weights = {n: p.detach().double().abs() for n, p in self.network.named_parameters()}
        prunable = [layer.weight for layer in structure.layers]
        kept = {name: weights[name] > 0 for name in prunable}
        scores = self.flow(weights)
        for k in range(1, self.rounds):
            number = round(density ** (k / self.rounds) * structure.prunable)
            alive = torch.cat([scores[name][kept[name]] for name in prunable])
            lowest = alive.topk(min(number, len(alive)), sorted=False).values.min()
            for name in prunable:
                kept[name] &= scores[name] >= lowest
                weights[name] *= kept[name]
            scores = self.flow(weights)
        return {
            layer.name: scores[layer.weight].masked_fill(~kept[layer.weight], -torch.inf)
            for layer in structure.layers
        }

    def flow(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Compute the flow of all prunable weights.

        Parameters
        ----------
        weights
            Parameter name -> absolute values in double precision, for all parameters.

        Returns
        -------
        dict
            Parameter name of each prunable weight -> w * dR/dw, of its shape.
        """
        names = [layer.weight for layer in self.context.structure.layers]
        leaves = {name: w.clone().requires_grad_(name in names) for name, w in weights.items()}
        ones = torch.ones_like(self.probe.example(), dtype=torch.double)
        total = self.probe.linear(ones, leaves).sum()
        gradients = torch.autograd.grad(total, [leaves[name] for name in names])
        return {name: weights[name] * g for name, g in zip(names, gradients, strict=True)}

    def fidelity(self) -> tuple[Quantity, ...]:
        """Number of rounds, and whether one threshold holds for all layers."""
        return (
            Quantity("rounds", self.rounds, "100", least=30),
            Quantity("one threshold for all layers (1: yes)", self.scope == "global", "1", 1),
        )
