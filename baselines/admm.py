"""ADMM: train towards the nearest pruned weights, prune, retrain.

Zhang et al. 2018 (arXiv 1804.03294), and StructADMM (arXiv 1807.11091) for filters: minimise the
loss of W subject to W = Z, Z pruned, by W: training with rho / 2 ||W - Z + U||^2, rho growing; Z:
W + U, of which the largest entries (units of largest norm) stay; U: U + W - Z. Then hard pruning
and masked retraining. Adapted: one selection for all layers; a unit is its filter and its readers'
columns, relative to its group; updates are few, as W must move between them; rho is large.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from baselines.shared.contract import PruneContext, PrunerInfo
from baselines.shared.dependency_graph import relative
from baselines.shared.gradual_pruner import GradualPruner
from baselines.shared.masks import Masks


@dataclass
class ADMM(GradualPruner):
    """Alternate until `stop`, and prune there; `rho` rises tenfold `decades` times."""

    info = PrunerInfo(
        name="admm",
        summary="A penalty draws the weights to their own pruned copy; then that is enforced.",
        paper="Zhang et al. 2018, arXiv 1804.03294; StructADMM, arXiv 1807.11091",
        granularities=("structured", "unstructured"),
        tracks=("from-scratch", "post-training"),
    )

    stop: float = 0.4
    updates: int = 20
    rho: float = 0.01
    decades: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rho <= 0 or self.decades < 0:
            raise ValueError("rho must be positive, and decades not negative")

    def begin(self, network: nn.Module, context: PruneContext) -> None:
        """Start with no Z; `residuals` will hold ||W - Z|| / ||W|| of each update."""
        super().begin(network, context)
        self.pruned, self.dual = dict[str, Tensor](), dict[str, Tensor]()
        self.residuals, self.strength, self.layers = list[float](), self.rho, self.layer_weights()

    def penalty(self) -> Tensor | None:
        """Half of rho times ||W - Z + U||^2, until the weights are pruned."""
        if self.finished or not self.pruned:
            return None
        gaps = [self.network.get_parameter(n) - z + self.dual[n] for n, z in self.pruned.items()]
        return self.strength / 2 * torch.stack([gap.square().sum() for gap in gaps]).sum()

    @torch.no_grad()
    def masks(self, progress: float) -> Masks | None:
        """Update Z, U and rho, over which U is the dual variable; at `stop`, prune."""
        if not self.due(progress):
            return None
        self.clock.due(progress)
        self.finished = progress >= self.stop
        weights = {n: p.detach() for n, p in self.network.named_parameters() if p.dim() > 1}
        moved = {n: w + self.dual.get(n, 0) for n, w in weights.items()}
        kept = self._largest(moved).parameters.items()
        self.pruned = z = {n: moved[n] * m.to(moved[n].device) for n, m in kept if n in moved}
        gap = sum((weights[n] - z[n]).square().sum() for n in z)
        self.residuals.append(float(gap / sum(weights[n].square().sum() for n in z)) ** 0.5)
        along = (progress - self.start) / max(self.stop - self.start, 1e-12)
        before, self.strength = self.strength, self.rho * 10 ** (self.decades * along)
        self.dual = {n: (moved[n] - z[n]) * (before / self.strength) for n in z}
        return self._largest(weights) if self.finished else None

    def _largest(self, values: dict[str, Tensor]) -> Masks:
        if self.context.granularity == "unstructured":
            return self.choose(weights={n: values[f"{n}.weight"].abs() for n in self.layers})
        norms = self.context.structure.unit_sums({n: v.square() for n, v in values.items()})
        return self.choose(units=relative(norms))
