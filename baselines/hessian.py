"""Second-order saliency: the rise of the loss when a unit's weights become zero.

Optimal brain damage (LeCun et al. 1989) takes the Hessian as diagonal: w^2 h / 2 for each weight.
Here h is the diagonal of the empirical Fisher matrix, the mean of squared per-example gradients,
and a unit's score is the sum over the weights that it owns:

    score = sum_w w^2 E_x[g_w(x)^2] / 2.

Squaring the mean gradient instead, or keeping one sample's, is another matrix; torch-pruning's
GroupHessian does the latter. Adapted: gradients through surrogates; batch norm's own parameters
are left out; scored anew before each of few updates. The form has the loss's unit, so groups
compare as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from baselines.shared.contract import PrunerInfo
from baselines.shared.gradual_pruner import GradualPruner


@dataclass
class Hessian(GradualPruner):
    """Score a unit by w^2 E[g^2] / 2, summed over its weights.

    Parameters
    ----------
    samples
        Training samples that each scoring passes.
    """

    info = PrunerInfo(
        name="hessian",
        summary="Gradual pruning of units of least diagonal Fisher saliency.",
        paper="LeCun et al. 1989, Optimal brain damage; Theis et al. 2018, arXiv 1801.05787",
        granularities=("structured",),
        tracks=("from-scratch", "post-training"),
    )

    updates: int = 20
    samples: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.samples < 1:
            raise ValueError(f"samples must be at least 1, not {self.samples}")

    def fisher(self) -> dict[str, Tensor]:
        """Weight's name -> mean of the squared per-example gradients."""
        total: dict[str, Tensor] = {}
        for inputs, labels in self.probe.batches(self.samples):
            for layer, gradients in self.probe.per_example(inputs, labels):
                squares = gradients.square_().sum(0) / self.samples
                total[f"{layer}.weight"] = total.get(f"{layer}.weight", 0) + squares
        return total

    def unit_scores(self) -> dict[str, Tensor]:
        """Group name -> saliency [units]."""
        fisher = self.fisher().items()
        saliency = {n: self.network.get_parameter(n).detach().square() * f / 2 for n, f in fisher}
        return self.context.structure.unit_sums(saliency)
