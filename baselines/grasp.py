"""GraSP: keep the gradient flow (Wang, Zhang and Grosse 2020, arXiv 2002.07376).

Removing weight w changes the squared norm of the loss gradient g by about S = -w * (H g), where H
is the Hessian (equation 8, up to a factor of two). Removing the weights of highest S hurts training
least, so the weights of highest w * (H g) are kept. (Some implementations have the opposite sign.)

As in the authors' code, class scores are divided by a temperature of 200, and g is summed over all
batches before the products are computed. So every sample passes twice and is charged twice. The
authors use ten samples per class. For spiking networks H is the derivative of the surrogate
gradient, which snnTorch computes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from baselines.shared.contract import PrunerInfo
from baselines.shared.gradual_pruner import GradualPruner
from baselines.shared.selection import Scope


@dataclass
class Grasp(GradualPruner):
    """Score a weight by w * (H g).

    Parameters
    ----------
    samples
        Training samples of one scoring, >= 1; each is charged twice.
    temperature
        Divisor of the class scores, > 0.
    """

    info = PrunerInfo(
        name="grasp",
        summary="One shot at initialisation: keep the weights that carry the gradient flow.",
        paper="Wang, Zhang and Grosse 2020, arXiv 2002.07376",
        granularities=("unstructured",),
    )

    start: float = 0.0
    stop: float = 0.0
    updates: int = 1
    scope: Scope = "global"
    samples: int = 128
    temperature: float = 200.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.samples < 1 or self.temperature <= 0:
            raise ValueError(
                f"need samples >= 1, temperature > 0, not {self.samples}, {self.temperature}"
            )

    def weight_scores(self) -> dict[str, Tensor]:
        """Layer name -> w * (H g), of the weight's shape."""
        weights = self.layer_weights()
        values, batches = list(weights.values()), list(self.probe.batches(self.samples))
        batch_flows = [self._gradients(*batch) for batch in batches]
        flow = [torch.stack(parts).sum(0) for parts in zip(*batch_flows, strict=True)]  # g
        products = []  # H g of each batch
        for batch in batches:
            gradients = self._gradients(*batch, create_graph=True)
            dots = torch.stack([(g * f).sum() for g, f in zip(gradients, flow, strict=True)])
            products.append(torch.autograd.grad(dots.sum(), values))
        scores = {}
        for (name, weight), parts in zip(weights.items(), zip(*products, strict=True), strict=True):
            scores[name] = weight.detach() * torch.stack(parts).sum(0)
        return scores

    def _gradients(
        self, inputs: Tensor, labels: Tensor, create_graph: bool = False
    ) -> tuple[Tensor, ...]:
        """Gradients of the prunable weights, with class scores divided by the temperature.

        The class scores are linear in the readout, which is the one linear layer that is not
        pruned. So dividing its parameters divides the scores.
        """
        prunable = self.layer_weights()
        readout = {
            f"{name}.{key}": parameter / self.temperature
            for name, module in self.network.named_modules()
            if isinstance(module, nn.Linear) and name not in prunable
            for key, parameter in module.named_parameters()
        }
        loss = self.probe.loss(inputs, labels, reduction="sum", parameters=readout)
        return torch.autograd.grad(loss, list(prunable.values()), create_graph=create_graph)
