"""Magnitude increase: what grew since the start stays. Copy this file to NAME.py to begin a method.

It has one class, whose fields are the hyper-parameters; write them into params.yaml too. The
contract is baselines/shared/contract.py. Files whose names start with ``_`` are not registered.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from baselines.shared.contract import PruneContext, PrunerInfo
from baselines.shared.gradual_pruner import GradualPruner


@dataclass
class Template(GradualPruner):
    """Score a weight by its magnitude less the initial one, a unit by the sum of its weights'.

    Parameters
    ----------
    share
        Part of the initial magnitude that counts, in [0, 1]; 0 is magnitude pruning.
    """

    info = PrunerInfo(
        name="template",
        summary="Gradual pruning of what grew least since initialisation.",
        paper="Zhou et al. 2019, Deconstructing lottery tickets, arXiv 1905.01067",
        granularities=("structured", "unstructured", "hybrid"),
    )

    share: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.share <= 1:
            raise ValueError(f"share must be in [0, 1], not {self.share}")

    def begin(self, network: nn.Module, context: PruneContext) -> None:
        """Remember the initial magnitudes."""
        super().begin(network, context)
        self.initial = {n: w.detach().abs() for n, w in self.layer_weights().items()}

    def weight_scores(self) -> dict[str, Tensor]:
        """Layer name -> growth of each weight's magnitude."""
        weights = self.layer_weights().items()
        return {n: w.detach().abs() - self.share * self.initial[n] for n, w in weights}

    def unit_scores(self) -> dict[str, Tensor]:
        """Group name -> growth summed over a unit's weights, its columns in readers included."""
        scores = {f"{name}.weight": s for name, s in self.weight_scores().items()}
        return self.context.structure.unit_sums(scores)
