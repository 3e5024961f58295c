"""Grad R: gradient rewiring of spiking networks (Chen et al. 2021, arXiv 2105.04916).

A weight is w = s * relu(theta), where its sign s is fixed at initialisation. theta moves by the
gradient s * dL/dw even where theta is negative, so a disconnected synapse can come back. A Laplace
prior also moves theta by -rate * alpha * sign(theta - mu) per step. The share of the prior below
zero is the target sparsity p: mu = log(2 * (1 - p)) / alpha for p >= 1/2. The DPAP paper compares
with this method.

Adapted: the authors train for 2048 epochs with alpha = 1e-3. Here alpha is larger, so that the
prior moves theta by about the size of a weight within the budget: below 0.1 it does not act. The
recipe's optimizer makes the gradient step. The authors do not control the final density. Here the
connections with the largest theta are selected at `stop`, at the target density, and the rest of
the budget trains them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from baselines.shared.contract import PruneContext, PrunerInfo, Quantity
from baselines.shared.hidden_weights import HiddenWeightPruner
from baselines.shared.selection import Scope


@dataclass
class GradientRewiring(HiddenWeightPruner):
    """Prune and regrow connections by the sign of hidden strengths theta, under a prior.

    Parameters
    ----------
    alpha
        Strength of the prior, > 0.
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
        """Fix the signs and the mean of the prior; theta starts at the weight's magnitude."""
        super().begin(network, context)
        self.signs = {name: hidden.sign() for name, hidden in self.hidden.items()}
        density = context.density or 1.0
        if density <= 0.5:
            scaled_mean = math.log(2 * density)
        else:  # most of the prior is above zero
            scaled_mean = -math.log(max(2 * (1 - density), 1e-9))
        self.mean = scaled_mean / self.alpha

    def scores(self) -> dict[str, Tensor]:
        """Layer name -> theta, of the weight's shape."""
        return {name: self.signs[name] * hidden for name, hidden in self.hidden.items()}

    def visible(self, progress: float) -> dict[str, Tensor]:
        """Move theta by the prior, and return the weights s * relu(theta) by layer name."""
        drift = self.alpha * self.context.learning_rate(progress)
        visible = {}
        for name, before in self.scores().items():
            theta = before - drift * (before - self.mean).sign()
            self.hidden[name] = self.signs[name] * theta
            visible[name] = self.signs[name] * theta.relu()
        return visible

    def fidelity(self) -> tuple[Quantity, ...]:
        """Share of theta below zero when the connections are fixed."""
        theta = torch.cat([theta.flatten() for theta in self.scores().values()])
        below = float((theta < 0).double().mean())
        asked = 1 - (self.context.density or 1.0)
        paper = f"{100 * asked:.0f} % (sparsity of the prior)"
        return (Quantity("theta below zero at the cut", below, paper, least=0.75 * asked),)
