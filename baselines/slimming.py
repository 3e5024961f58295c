"""Network slimming: an L1 penalty on batch norm scales; units of small scale are pruned.

Liu et al. 2017 (arXiv 1708.06519, equation 1) add lambda * sum |gamma| over all batch norm scales
to the loss, train, prune by one threshold on |gamma| for the whole network, and fine-tune. Here the
penalty acts until `stop`, and the training with it is a part of the budget. ``start == stop`` is
one-shot pruning, as in the paper; ``start < stop`` corresponds to its multi-pass scheme. The rest
of the budget fine-tunes.

Adapted: the shared selection finds the threshold that meets the density. The paper's lambda is 1e-4
to 1e-5, for plain SGD over 160 epochs. Here lambda must be larger, because the steps of Adam do not
scale with the gradient, and because there are ten times fewer steps. In so few steps all scales
shrink alike, and do not come near zero as in the paper.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch_pruning as tp
from torch import Tensor

from baselines.shared.contract import PrunerInfo, Quantity
from baselines.shared.dependency_graph import unit_scores
from baselines.shared.gradual_pruner import GradualPruner


@dataclass
class Slimming(GradualPruner):
    """Score a unit by the magnitude of its batch norm scale, under an L1 penalty.

    Parameters
    ----------
    start, stop
        As for all gradual methods; the penalty acts until `stop`.
    strength
        Factor lambda of the L1 penalty, >= 0.
    """

    info = PrunerInfo(
        name="slimming",
        summary="L1 penalty on batch norm scales; the units of smallest scale are pruned.",
        paper="Liu et al. 2017, Network slimming, arXiv 1708.06519",
        granularities=("structured",),
        tracks=("from-scratch", "post-training"),
    )

    start: float = 0.5
    stop: float = 0.5
    strength: float = 0.003

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.strength < 0:
            raise ValueError(f"strength must not be negative, not {self.strength}")

    def penalty(self) -> Tensor | None:
        """Return the L1 norm of the scales times `strength`, until pruning ends."""
        if self.finished:
            return None
        return self.strength * torch.cat([gamma.abs() for gamma in self.scales()]).sum()

    def scales(self) -> list[Tensor]:
        """Return the batch norm scales of all units."""
        structure = self.context.structure
        owned = {cut.parameter for group in structure.groups for cut in group.slices}
        vectors = [name for name in sorted(owned) if len(structure.shapes[name]) == 1]
        return [self.network.get_parameter(name) for name in vectors if name.endswith(".weight")]

    def unit_scores(self) -> dict[str, Tensor]:
        """Group name -> |gamma|, not normalised, [units]."""
        importance = tp.importance.BNScaleImportance(normalizer=None)
        self.at_cut = unit_scores(self.context.structure, importance)
        return self.at_cut

    def fidelity(self) -> tuple[Quantity, ...]:
        """Training with the penalty before pruning, and how small the pruned scales were."""
        sizes = torch.cat([score.detach().cpu() for score in self.at_cut.values()])
        kept = torch.cat([self.alive[name] for name in self.at_cut])
        ratio = float(sizes[~kept].mean() / sizes[kept].mean())
        return (
            Quantity(
                "training with the penalty, share of the budget", self.start, "a training", 0.3
            ),
            Quantity("one threshold for all layers (1: yes)", self.scope == "global", "1", 1),
            Quantity("scales at the cut, pruned / kept", ratio, "near 0", most=1.0),
        )
