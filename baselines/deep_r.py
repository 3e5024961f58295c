"""Deep R: rewiring at a constant number of connections (Bellec et al. 2018, arXiv 1711.05136).

Connection k has a fixed sign s and the weight w = s * theta while theta >= 0. In every step the
present connections move by the gradient, an L1 prior and noise:

    theta += -rate * alpha + sqrt(2 * rate * temperature) * N(0, 1).

Connections whose theta falls below zero are dropped, and as many absent connections of the same
layer, drawn at random, are grown with theta = 0.

Adapted: the signs are those of the initial weights. The recipe's optimizer makes the gradient step.
Layers have Erdos-Renyi-kernel densities. Connections are fixed from `stop` on.
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
    """Replace connections whose weight would change sign by random connections.

    Parameters
    ----------
    alpha
        Strength of the L1 prior, >= 0.
    temperature
        Strength of the noise, >= 0.
    stop
        Progress at which rewiring ends, in [0, 1].
    scope
        How the connections are distributed over the layers, as in `SparseTraining`.
    """

    info = PrunerInfo(
        name="deep_r",
        summary="Sparse training with noise: random connections replace those that change sign.",
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
        """Fix the signs; no connection is drawn yet."""
        super().begin(network, context)
        self.signs = {name: w.detach().sign() for name, w in self.layer_weights().items()}
        self.kept: dict[str, Tensor] = {}

    def due(self, progress: float) -> bool:
        """Whether no connection is drawn yet, or `stop` is not reached: every step until then."""
        return not self.kept or progress < self.stop

    @torch.no_grad()
    def masks(self, progress: float) -> Masks | None:
        """Draw the connections at the first call; later, replace those that fell below zero."""
        if not self.kept:
            self.kept = random_connections(self.context, self.scope)
        else:
            rate = self.context.learning_rate(progress)
            for name, weight in self.layer_weights().items():
                self.kept[name] = self._rewire(name, weight, rate)
        return self.context.structure.masks(weights=self.kept)

    def _rewire(self, name: str, weight: Tensor, rate: float) -> Tensor:
        """Move the weights of a layer, in place, and return its connections afterwards."""
        generator = self.context.generator
        kept, noise = self.kept[name], torch.randn(weight.shape, generator=generator)
        theta = self.signs[name] * weight - rate * self.alpha
        theta += math.sqrt(2 * rate * self.temperature) * noise.to(theta)
        present = kept & (theta >= 0).cpu()
        weight.copy_(self.signs[name] * theta * present.to(theta))
        missing = int(kept.sum() - present.sum())
        flat = present.flatten()
        absent = (~flat).nonzero().flatten()
        flat[absent[torch.randperm(len(absent), generator=generator)[:missing]]] = True
        return flat.view(kept.shape)
