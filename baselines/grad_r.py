"""Grad R: gradient rewiring of spiking networks (Chen et al. 2021, arXiv 2105.04916).

A weight is w = s * relu(theta), its sign s fixed at initialisation. theta moves by the gradient
s * dL/dw even where it is negative, so a disconnected synapse can come back, and each step takes
away rate * alpha * sign(theta - mu), from a Laplace prior whose share below zero is the target
sparsity p: mu = log(2 * (1 - p)) / alpha for p >= 1/2. The DPAP paper compares with it.

Adapted: the authors train 2048 epochs at alpha = 1e-3; here alpha is larger, for the prior to move
theta by about a weight's size within the budget. The step is that of the recipe's optimizer. Their
density is a result; here the shared selection keeps the largest theta at `stop`, to meet the
target, and the rest of the budget trains them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn

from baselines.shared.contract import PruneContext, PrunerInfo
from baselines.shared.hidden_weights import HiddenWeightPruner
from baselines.shared.selection import Scope


@dataclass
class GradientRewiring(HiddenWeightPruner):
    """Prune and regrow by the sign of hidden strengths theta, under a prior.

    Parameters
    ----------
    alpha
        Strength of the prior.
    """

    info = PrunerInfo(
        name="grad_r",
        summary="Gradient rewiring: hidden weights below zero are pruned, and may come back.",
        paper="Chen et al. 2021, arXiv 2105.04916",
        granularities=("unstructured",),
        tracks=("from-scratch", "post-training"),
    )

    alpha: float = 0.25
    stop: float = 0.7
    scope: Scope = "global"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.alpha <= 0:
            raise ValueError(f"alpha must be positive, not {self.alpha}")

    def begin(self, network: nn.Module, context: PruneContext) -> None:
        """Fix the signs, and the prior's mean; theta starts at the magnitudes."""
        super().begin(network, context)
        self.signs = {name: hidden.sign() for name, hidden in self.hidden.items()}
        kept = context.density or 1.0
        below = math.log(2 * kept) if kept <= 0.5 else -math.log(max(2 * (1 - kept), 1e-9))
        self.mean = below / self.alpha

    def scores(self) -> dict[str, Tensor]:
        """Layer name -> theta."""
        return {name: self.signs[name] * hidden for name, hidden in self.hidden.items()}

    def visible(self, progress: float) -> dict[str, Tensor]:
        """Apply the prior; what is above zero is connected."""
        drift = self.alpha * self.context.learning_rate(progress)
        visible = {}
        for name, before in self.scores().items():
            theta = before - drift * (before - self.mean).sign()
            self.hidden[name] = self.signs[name] * theta
            visible[name] = self.signs[name] * theta.relu()
        return visible
