"""Deep R: rewiring at a constant number of connections (Bellec et al. 2018, arXiv 1711.05136).

A connection k has a fixed sign s and w = s * theta while theta >= 0. Every step, present ones move
by the gradient, an L1 prior and noise, theta += -rate * alpha + sqrt(2 * rate * temperature) * N;
those below zero go, and as many absent ones of the layer, drawn at random, come with theta = 0.

Adapted: signs are those of the initial weights; the gradient step is that of the recipe's
optimizer; layer densities are Erdos-Renyi-kernel ones; connections stay from `stop` on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from baselines.shared.contract import PruneContext, Pruner, PrunerInfo
from baselines.shared.masks import Masks
from baselines.shared.selection import Scope
from baselines.shared.sparse_training import random_connections


@dataclass
class DeepRewiring(Pruner):
    """Replace connections whose weight changes sign by random ones.

    Parameters
    ----------
    alpha, temperature, stop, scope
        Strength of L1 prior and noise; progress at which it ends; how layers share connections.
    """

    info = PrunerInfo(
        name="deep_r",
        summary="Sparse training under noise: weights that change sign give way to random ones.",
        paper="Bellec et al. 2018, Deep rewiring, arXiv 1711.05136",
        granularities=("unstructured",),
    )

    alpha: float = 0.03
    temperature: float = 1e-7
    stop: float = 0.7
    scope: Scope = "erk"

    def __post_init__(self) -> None:
        if min(self.alpha, self.temperature) < 0 or not 0 <= self.stop <= 1:
            raise ValueError("need alpha >= 0, temperature >= 0, 0 <= stop <= 1")

    def begin(self, network: nn.Module, context: PruneContext) -> None:
        """Fix the signs; nothing is connected yet."""
        super().begin(network, context)
        self.signs = {name: w.detach().sign() for name, w in self.layer_weights().items()}
        self.kept: dict[str, Tensor] = {}

    def due(self, progress: float) -> bool:
        """Every step until `stop`."""
        return not self.kept or progress < self.stop

    @torch.no_grad()
    def masks(self, progress: float) -> Masks | None:
        """Draw the connections, or replace those that fell below zero."""
        structure, draw = self.context.structure, self.context.generator
        if not self.kept:
            self.kept = random_connections(self.context, self.scope)
            return structure.masks(weights=self.kept)
        rate = self.context.learning_rate(progress)
        for name, weight in self.layer_weights().items():
            kept, noise = self.kept[name], torch.randn(weight.shape, generator=draw)
            theta = self.signs[name] * weight - rate * self.alpha
            theta += math.sqrt(2 * rate * self.temperature) * noise.to(theta)
            present = kept & (theta >= 0).cpu()
            weight.copy_(self.signs[name] * theta * present.to(theta))
            missing, present = int(kept.sum() - present.sum()), present.flatten()
            absent = (~present).nonzero().flatten()
            present[absent[torch.randperm(len(absent), generator=draw)[:missing]]] = True
            self.kept[name] = present.view(kept.shape)
        return structure.masks(weights=self.kept)
