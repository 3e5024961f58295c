"""ADMM: train the weights towards their own pruned copy, then prune and retrain.

Zhang et al. 2018 (arXiv 1804.03294), and StructADMM (arXiv 1807.11091) for filters, minimise the
loss of the weights W subject to W = Z, where Z is pruned. They alternate three updates:

    W  training on the loss plus rho / 2 ||W - Z + U||^2
    Z  W + U, of which the largest entries (or the units of largest norm) are kept
    U  U + W - Z

with a penalty factor rho that grows. Hard pruning and masked retraining follow.

Adapted: one selection covers all layers. A unit consists of its filter and of the columns that
read it, and its norm is divided by the mean norm of its group. Z and U are updated only a few
times, because W must move between two updates: Adam moves a weight by the learning rate per step,
whatever rho is. rho is large at the end, so that W is close to Z when it is pruned.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from baselines.shared.contract import PruneContext, PrunerInfo, Quantity
from baselines.shared.dependency_graph import relative
from baselines.shared.gradual_pruner import GradualPruner
from baselines.shared.masks import Masks


@dataclass
class ADMM(GradualPruner):
    """Update Z and U from `start` to `stop`, then prune.

    Parameters
    ----------
    stop
        Progress at which the weights are pruned, in [0, 1].
    updates
        Number of updates of Z and U per run, as for all gradual methods.
    rho
        Initial penalty factor, > 0.
    decades
        Number of times that rho grows tenfold between `start` and `stop`, >= 0.
    """

    info = PrunerInfo(
        name="admm",
        summary="A penalty pulls the weights towards their own pruned copy; then they are pruned.",
        paper="Zhang et al. 2018, arXiv 1804.03294; StructADMM, arXiv 1807.11091",
        granularities=("structured", "unstructured"),
        tracks=("from-scratch", "post-training"),
    )

    stop: float = 0.6
    updates: int = 10
    rho: float = 0.01
    decades: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rho <= 0 or self.decades < 0:
            raise ValueError(f"need rho > 0 and decades >= 0, not {self.rho} and {self.decades}")

    def begin(self, network: nn.Module, context: PruneContext) -> None:
        """Start without Z and U; `residuals` will record ||W - Z|| / ||W|| at each update."""
        super().begin(network, context)
        self.pruned: dict[str, Tensor] = {}  # Z by parameter name
        self.dual: dict[str, Tensor] = {}  # U by parameter name
        self.strength = self.rho  # rho now
        self.residuals: list[float] = []

    def penalty(self) -> Tensor | None:
        """Return rho / 2 ||W - Z + U||^2 until the weights are pruned."""
        if self.finished or not self.pruned:
            return None
        gaps = [
            self.network.get_parameter(name) - z + self.dual[name]
            for name, z in self.pruned.items()
        ]
        return self.strength / 2 * torch.stack([gap.square().sum() for gap in gaps]).sum()

    @torch.no_grad()
    def masks(self, progress: float) -> Masks | None:
        """Update Z, U and rho; prune at `stop`."""
        if not self.due(progress):
            return None
        self.clock.due(progress)
        self.finished = progress >= self.stop
        weights = {n: p.detach() for n, p in self.network.named_parameters() if p.dim() > 1}
        moved = {name: w + self.dual.get(name, 0) for name, w in weights.items()}  # W + U
        self.pruned = {
            name: moved[name] * mask.to(moved[name].device)
            for name, mask in self._keep_largest(moved).parameters.items()
            if name in moved
        }
        gap = sum((weights[name] - z).square().sum() for name, z in self.pruned.items())
        norm = sum(weights[name].square().sum() for name in self.pruned)
        self.residuals.append(float(gap / norm) ** 0.5)
        elapsed = (progress - self.start) / max(self.stop - self.start, 1e-12)
        before, self.strength = self.strength, self.rho * 10 ** (self.decades * elapsed)
        # U is the dual variable divided by rho, so it shrinks when rho grows.
        scale = before / self.strength
        self.dual = {name: (moved[name] - z) * scale for name, z in self.pruned.items()}
        return self._keep_largest(weights) if self.finished else None

    def fidelity(self) -> tuple[Quantity, ...]:
        """Distance of the weights from their pruned copy when they are pruned."""
        residual = self.residuals[-1] if self.residuals else 1.0
        return (Quantity("||W - Z|| / ||W|| at the cut", residual, "converges to 0", most=0.3),)

    def _keep_largest(self, values: dict[str, Tensor]) -> Masks:
        """Keep the largest entries, or the units of largest norm, at the target density."""
        if self.context.granularity == "unstructured":
            layers = self.context.structure.layers
            return self.choose(weights={x.name: values[x.weight].abs() for x in layers})
        norms = self.context.structure.unit_sums({n: v.square() for n, v in values.items()})
        return self.choose(units=relative(norms))
