"""Growing regularisation: raise an L2 penalty on selected units until they are removed.

Wang et al. 2021 (arXiv 2012.09243), GReg-1: in a trained network, select the filters of smallest
L1 norm, the same share in each layer. Raise the L2 penalty lambda / 2 * ||w||^2 on these filters
alone, in small steps from 0 to a ceiling (the paper uses 1). Then remove the filters and fine-tune.
Here dense training, up to `start`, is a part of the budget, with a learning-rate schedule of its
own.

Adapted: the penalty on a unit covers all parameters that it owns, because behind batch norm the
scale of a filter alone has no effect. (The version of torch-pruning is meant to cover batch norm,
but its term has no effect.) With Adam, a penalty that outweighs the loss moves a weight by the
learning rate per step, whatever lambda is.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from baselines.shared.contract import PruneContext, PrunerInfo, Quantity
from baselines.shared.dependency_graph import relative
from baselines.shared.gradual_pruner import GradualPruner
from baselines.shared.masks import Masks
from baselines.shared.selection import Scope


@dataclass
class GrowingReg(GradualPruner):
    """Train densely, select units at `start`, raise the penalty on them, remove them at `stop`.

    Parameters
    ----------
    scope
        How scores are compared, as for all gradual methods.
    ceiling
        Penalty factor lambda at `stop`, >= 0.
    """

    info = PrunerInfo(
        name="growing_reg",
        summary="A growing penalty shrinks the units of smallest norm, which are then removed.",
        paper="Wang et al. 2021, Neural pruning via growing regularization, arXiv 2012.09243",
        granularities=("structured",),
        tracks=("from-scratch", "post-training"),
    )

    start: float = 0.4
    stop: float = 0.75
    scope: Scope = "layer-wise"
    ceiling: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ceiling < 0:
            raise ValueError(f"ceiling must not be negative, not {self.ceiling}")

    def begin(self, network: nn.Module, context: PruneContext) -> None:
        """Start without a selection and without a penalty."""
        super().begin(network, context)
        self.chosen: Masks | None = None
        self.strength = 0.0  # lambda now
        self.norms: list[float] = []  # of the weights to be removed: when selected, when removed

    def restarts(self) -> tuple[float, ...]:
        """Return `start`: dense training is complete, with a learning-rate schedule of its own."""
        return (self.start,) if 0 < self.start < 1 else ()

    def penalty(self) -> Tensor | None:
        """Return lambda / 2 * ||w||^2 over the selected units, until they are removed."""
        if self.chosen is None or self.finished:
            return None
        return self.strength / 2 * self._selected(self.chosen)

    def masks(self, progress: float) -> Masks | None:
        """Select the units at the first update, then raise the penalty; at `stop`, prune."""
        if not self.due(progress):
            return None
        self.clock.due(progress)
        self.finished = progress >= self.stop
        if self.chosen is None:
            self.chosen = self.choose(units=self.unit_scores())
        elapsed = (progress - self.start) / max(self.stop - self.start, 1e-12)
        self.strength = self.ceiling * elapsed
        if self.finished or not self.norms:
            self.norms.append(float(self._selected(self.chosen, 2).detach()) ** 0.5)
        return self.chosen if self.finished else None

    def unit_scores(self) -> dict[str, Tensor]:
        """Group name -> L1 norms of all that each unit owns, divided by their mean, [units]."""
        return relative({name: s.detach() for name, s in self._unit_sums(1).items()})

    def _selected(self, chosen: Masks, dims: int = 1) -> Tensor:
        """Sum of the squares of all parameters that the units to be removed own.

        Parameters of fewer than `dims` dimensions do not count; 2 leaves out batch norm.
        """
        selected = [
            squares[~chosen.units[name].to(squares.device)]
            for name, squares in self._unit_sums(2, dims).items()
        ]
        return torch.cat(selected).sum()

    def fidelity(self) -> tuple[Quantity, ...]:
        """Dense training before the selection, and what the penalty leaves of the units."""
        left = self.norms[-1] / max(self.norms[0], 1e-30) if self.norms else 1.0
        return (
            Quantity("dense training, share of the budget", self.start, "a training", least=0.3),
            Quantity("norm of the weights at removal / at selection", left, "near 0", most=0.3),
        )

    def _unit_sums(self, power: int, dims: int = 1) -> dict[str, Tensor]:
        """Group name -> sums of abs(w)^power over all parameters that each unit owns, [units]."""
        powers = {
            name: w.abs().pow(power)
            for name, w in self.network.named_parameters()
            if w.dim() >= dims
        }
        return self.context.structure.unit_sums(powers)
