"""Magnitude increase: keep the weights that grew most since initialisation.

This is the template of a new method: ``dpap-bench new-method NAME`` copies it to NAME.py, and adds
its hyper-parameters to methods.yaml. A method is one dataclass, whose fields are the
hyper-parameters. baselines/shared/contract.py describes the contract. Files whose names start with
``_`` are not registered as methods.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from baselines.shared.contract import PruneContext, PrunerInfo
from baselines.shared.gradual_pruner import GradualPruner
from baselines.shared.selection import Scope


@dataclass
class Template(GradualPruner):
    """Score a weight by abs(w) - share * abs(w at initialisation), and a unit by its sum of scores.

    Parameters
    ----------
    share
        Factor of the initial magnitude, in [0, 1]; 0 is magnitude pruning.
    """

    info = PrunerInfo(
        name="template",
        summary="Gradual pruning of what grew least since initialisation.",
        paper="Zhou et al. 2019, Deconstructing lottery tickets, arXiv 1905.01067",
        granularities=("structured", "unstructured", "hybrid"),
    )

    scope: Scope = "layer-wise"
    share: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.share <= 1:
            raise ValueError(f"share must be in [0, 1], not {self.share}")

    def begin(self, network: nn.Module, context: PruneContext) -> None:
        """Store the initial magnitudes."""
        super().begin(network, context)
        self.initial = {name: w.detach().abs() for name, w in self.layer_weights().items()}

    def weight_scores(self) -> dict[str, Tensor]:
        """Layer name -> scores of the weight's shape."""
        return {
            name: weight.detach().abs() - self.share * self.initial[name]
            for name, weight in self.layer_weights().items()
        }

    def unit_scores(self) -> dict[str, Tensor]:
        """Group name -> sums over the weights that each unit owns, [units]."""
        scores = {f"{name}.weight": score for name, score in self.weight_scores().items()}
        return self.context.structure.unit_sums(scores)
