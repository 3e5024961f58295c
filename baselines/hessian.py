"""Second-order saliency: the increase of the loss when the weights of a unit become zero.

Optimal brain damage (LeCun et al. 1989) assumes a diagonal Hessian, so that removing weight w
increases the loss by w^2 h / 2. Here h is the diagonal of the empirical Fisher matrix, which is the
mean of squared per-example gradients (Theis et al. 2018, arXiv 1801.05787). The score of a unit is
the sum over the weights that it owns:

    score = sum_w w^2 E_x[g_w(x)^2] / 2.

The square of the mean gradient, or the squared gradient of a single sample, would be other
matrices; GroupHessian of torch-pruning uses the latter.

Adapted: gradients use surrogates. Parameters of batch norm do not count. Scores are recomputed
before each of a few updates. Scores have the unit of the loss, so they compare across groups
without normalisation.
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
    updates
        Number of mask updates per run; each one that falls between `start` and `stop` scores anew.
    samples
        Training samples of one scoring, >= 1; they are charged to the budget.
    """

    info = PrunerInfo(
        name="hessian",
        summary="Gradual pruning of the units of smallest diagonal Fisher saliency.",
        paper="LeCun et al. 1989, Optimal brain damage; Theis et al. 2018, arXiv 1801.05787",
        granularities=("structured",),
        tracks=("from-scratch", "post-training"),
        aims_at_synops=True,
    )

    updates: int = 20
    samples: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.samples < 1:
            raise ValueError(f"samples must be at least 1, not {self.samples}")

    def fisher(self) -> dict[str, Tensor]:
        """Parameter name of each weight -> mean of squared per-example gradients, of its shape."""
        fisher: dict[str, Tensor] = {}
        for inputs, labels in self.probe.batches(self.samples):
            for layer, gradients in self.probe.per_example(inputs, labels):
                squares = gradients.square_().sum(0) / self.samples
                fisher[f"{layer}.weight"] = fisher.get(f"{layer}.weight", 0) + squares
        return fisher

    def unit_scores(self) -> dict[str, Tensor]:
        """Group name -> saliencies [units]."""
        saliency = {
            name: self.network.get_parameter(name).detach().square() * fisher / 2
            for name, fisher in self.fisher().items()
        }
        return self.context.structure.unit_sums(saliency)
