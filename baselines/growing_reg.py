"""Growing regularisation: units chosen to go are pressed towards zero, ever harder, then removed.

Wang et al. 2021 (arXiv 2012.09243), GReg-1: choose the filters of smallest L1 norm, as many in each
layer; raise the L2 penalty lambda / 2 * ||w||^2 of those alone in small steps from 0 to a ceiling
(theirs is 1); remove them; fine-tune. Adapted: a unit's penalty covers all that it owns, for behind
batch norm a filter's scale alone changes nothing (torch-pruning's version means to cover batch
norm, and does not). Under Adam a penalty that outweighs the loss moves a weight by the learning
rate per step, whatever lambda is.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from baselines.shared.contract import PruneContext, PrunerInfo
from baselines.shared.dependency_graph import relative
from baselines.shared.gradual_pruner import GradualPruner
from baselines.shared.masks import Masks
from baselines.shared.selection import Scope


@dataclass
class GrowingReg(GradualPruner):
    """Choose at `start`, raise lambda to `ceiling` with each update, remove at `stop`."""

    info = PrunerInfo(
        name="growing_reg",
        summary="A growing penalty on the units of smallest norm, which then go.",
        paper="Wang et al. 2021, Neural pruning via growing regularization, arXiv 2012.09243",
        granularities=("structured",),
        tracks=("from-scratch", "post-training"),
    )

    scope: Scope = "layer-wise"
    ceiling: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ceiling < 0:
            raise ValueError(f"ceiling must not be negative, is {self.ceiling}")

    def begin(self, network: nn.Module, context: PruneContext) -> None:
        """Choose nothing yet."""
        super().begin(network, context)
        self.chosen: Masks | None = None
        self.strength = 0.0

    def penalty(self) -> Tensor | None:
        """Half of lambda times the squared norms of the chosen units, until they are removed."""
        if self.chosen is None or self.finished:
            return None
        squares = self._sums(2).items()
        return (
            self.strength
            / 2
            * torch.cat([s[~self.chosen.units[n].to(s.device)] for n, s in squares]).sum()
        )

    def masks(self, progress: float) -> Masks | None:
        """Choose the units, raise the penalty, or remove them."""
        if not self.due(progress):
            return None
        self.clock.due(progress)
        self.finished = progress >= self.stop
        if self.chosen is None:
            self.chosen = self.choose(units=self.unit_scores())
        along = (progress - self.start) / max(self.stop - self.start, 1e-12)
        self.strength = self.ceiling * along
        return self.chosen if self.finished else None

    def unit_scores(self) -> dict[str, Tensor]:
        """Group name -> L1 norm of all that a unit owns, relative to the group's mean."""
        return relative({name: s.detach() for name, s in self._sums(1).items()})

    def _sums(self, p: int) -> dict[str, Tensor]:
        owned = {name: w.abs().pow(p) for name, w in self.network.named_parameters()}
        return self.context.structure.unit_sums(owned)
