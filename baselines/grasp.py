"""GraSP: keep the gradient flow (Wang, Zhang and Grosse 2020, arXiv 2002.07376).

Removing weight w changes the squared norm of the loss gradient g by about S = -w * (H g), with H
the Hessian (equation 8, up to a factor of two). The weights of highest S go, as their removal
hurts training least, so the highest w * (H g) is kept. (Some code has the opposite sign.)

As in the authors' code the scores of the classes are divided by a temperature of 200, and g is
summed over the batches first; so every sample passes twice, and is charged twice. They use ten
samples per class. For spiking networks H is that of the surrogate gradient, through snnTorch.
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
        Training samples per scoring; each passes twice.
    temperature
        Divides the class scores.
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
        """Layer name -> w * (H g); removal of the lowest raises the gradient norm most."""
        weights = self.layer_weights()
        values, batches = list(weights.values()), list(self.probe.batches(self.samples))
        flows = [self._gradients(*batch) for batch in batches]
        flow = [torch.stack(parts).sum(0) for parts in zip(*flows, strict=True)]
        products = []
        for batch in batches:
            gradients = self._gradients(*batch, graph=True)
            along = torch.stack([(g * f).sum() for g, f in zip(gradients, flow, strict=True)])
            products.append(torch.autograd.grad(along.sum(), values))
        parts = zip(weights.items(), zip(*products, strict=True), strict=True)
        return {name: w.detach() * torch.stack(hg).sum(0) for (name, w), hg in parts}

    def _gradients(self, inputs: Tensor, labels: Tensor, graph: bool = False) -> tuple[Tensor, ...]:
        softer = {  # the class scores are linear in the readout, the one layer that is not pruned
            f"{name}.{key}": parameter / self.temperature
            for name, module in self.network.named_modules()
            if isinstance(module, nn.Linear) and name not in self.layer_weights()
            for key, parameter in module.named_parameters()
        }
        loss = self.probe.loss(inputs, labels, reduction="sum", parameters=softer)
        return torch.autograd.grad(loss, list(self.layer_weights().values()), create_graph=graph)
