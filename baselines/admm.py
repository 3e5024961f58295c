"""ADMM: train towards the nearest pruned weights, prune, retrain.

Zhang et al. 2018 (arXiv 1804.03294) for weights, StructADMM (arXiv 1807.11091) for filters: the
loss of W is minimised subject to W = Z, Z pruned. W: training with rho / 2 ||W - Z + U||^2, rho
growing tenfold a time from 1e-4 or 1e-3. Z: W + U, of which the largest entries (units of largest
norm) stay. U: U + W - Z. Then hard pruning and masked retraining. Adapted: one selection sets all
densities, not a hand per layer; a unit is all that it owns, its norm relative to its group's mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from baselines.api import PruneContext, PrunerInfo
from baselines.gradual import GradualPruner
from baselines.masks import Masks
from baselines.selection import select
from baselines.structured import relative


@dataclass
class ADMM(GradualPruner):
    """Alternate until `stop`, prune there; `updates` a run, `rho` rises tenfold `decades` times."""

    info = PrunerInfo(
        name="admm",
        summary="A penalty draws the weights to their own pruned copy; then that is enforced.",
        paper="Zhang et al. 2018, arXiv 1804.03294; StructADMM, arXiv 1807.11091",
        granularities=("structured", "unstructured"),
        tracks=("from-scratch", "post-training"),
    )

    updates: int = 30
    rho: float = 0.001
    decades: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rho <= 0 or self.decades < 0:
            raise ValueError("rho must be positive, and decades not negative")

    def begin(self, network: nn.Module, context: PruneContext) -> None:
        """Start with no Z; `residuals` will hold ||W - Z|| / ||W|| of each update."""
        super().begin(network, context)
        self.dual, self.target = dict[str, Tensor](), dict[str, Tensor]()
        self.residuals, self.strength = list[float](), self.rho

    def penalty(self) -> Tensor | None:
        """Half of rho times ||W - (Z - U)||^2, until the weights are pruned."""
        if self.finished or not self.target:
            return None
        gaps = [self.network.get_parameter(n) - to for n, to in self.target.items()]
        return self.strength / 2 * torch.stack([gap.square().sum() for gap in gaps]).sum()

    @torch.no_grad()
    def masks(self, progress: float) -> Masks | None:
        """Update rho, Z and U; at `stop`, prune."""
        if not self.due(progress):
            return None
        self.clock.due(progress)
        self.finished = progress >= self.stop
        along = (progress - self.start) / max(self.stop - self.start, 1e-12)
        before, self.strength = self.strength, self.rho * 10 ** (self.decades * along)
        weights = {n: p.detach() for n, p in self.network.named_parameters()}
        moved = {n: w + self.dual.get(n, 0) for n, w in weights.items()}
        z = {n: moved[n] * mask for n, mask in self._largest(moved).parameters.items()}
        gap = sum(float((weights[n] - pruned).square().sum()) for n, pruned in z.items())
        self.residuals.append((gap / sum(float(weights[n].square().sum()) for n in z)) ** 0.5)
        scale = before / self.strength  # U is the dual variable over rho
        self.dual = {n: (moved[n] - pruned) * scale for n, pruned in z.items()}
        self.target = {n: pruned - self.dual[n] for n, pruned in z.items()}
        return self._largest(weights) if self.finished else None

    def _largest(self, values: dict[str, Tensor]) -> Masks:
        run = self.context
        choose = partial(select, run.structure, run.density or 1, run.generator, scope=self.scope)
        if run.granularity == "unstructured":
            return choose(weights={x.name: values[x.weight].abs() for x in run.structure.layers})
        squares = run.structure.unit_sums({n: v.square() for n, v in values.items()})
        return choose(units=relative(squares))
