"""Network slimming: batch norm's scales are driven to zero, and the smallest go.

Liu et al. 2017 (arXiv 1708.06519, equation 1) add lambda * sum |gamma| over batch norm's scales
to the loss, prune by one threshold on |gamma| for the whole network, and fine-tune. Here the
sparsity phase lasts until `stop`, and pruning at `start == stop` is one-shot, as in the paper;
`start < stop` stands for its multi-pass scheme. The rest of the budget fine-tunes.

Adapted: the paper's lambda is 1e-4 to 1e-5, with plain SGD over 160 epochs; under Adam, whose
steps do not scale with the gradient, and over the tenth of the steps, it must be larger.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch_pruning as tp
from torch import Tensor

from baselines.shared.contract import PrunerInfo
from baselines.shared.dependency_graph import unit_scores
from baselines.shared.gradual_pruner import GradualPruner


@dataclass
class Slimming(GradualPruner):
    """Score a unit by the magnitude of its batch norm scale, under an L1 penalty.

    Parameters
    ----------
    strength
        Lambda of the L1 penalty.
    """

    info = PrunerInfo(
        name="slimming",
        summary="L1 on batch norm's scales, then the units of smallest scale go.",
        paper="Liu et al. 2017, Network slimming, arXiv 1708.06519",
        granularities=("structured",),
        tracks=("from-scratch", "post-training"),
    )

    start: float = 0.3
    stop: float = 0.3
    strength: float = 0.003

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.strength < 0:
            raise ValueError(f"strength must not be negative, is {self.strength}")

    def penalty(self) -> Tensor | None:
        """L1 norm of the scales, times the strength, until the units are chosen."""
        if self.finished:
            return None
        return self.strength * torch.cat([gamma.abs() for gamma in self.scales()]).sum()

    def scales(self) -> list[Tensor]:
        """Batch norm scales of the units."""
        cuts = {c.parameter for g in self.context.structure.groups for c in g.slices}
        vectors = [n for n in sorted(cuts) if len(self.context.structure.shapes[n]) == 1]
        return [self.network.get_parameter(n) for n in vectors if n.endswith(".weight")]

    def unit_scores(self) -> dict[str, Tensor]:
        """Group name -> |gamma|, compared as they are."""
        importance = tp.importance.BNScaleImportance(normalizer=None)
        return unit_scores(self.context.structure, importance)
