"""Soft masks: trained factors in (0, 1) of weights and of their input units."""

from __future__ import annotations

import torch
from torch import Tensor


class SoftMasks:
    """Masks sigmoid(tau * m) of weights and of input units, with logits m trained by Adam.

    The first layer reads the network's input instead of neurons, so it has weight masks only.

    Parameters
    ----------
    weights
        Layer name -> weight, in the order of the network. All logits m start at 0, so all masks
        start at 1 / 2.
    """

    def __init__(self, weights: dict[str, Tensor]) -> None:
        self.weights = {n: torch.zeros_like(w).requires_grad_() for n, w in weights.items()}
        self.units = {
            name: w.new_zeros(1, w.shape[1], *[1] * (w.dim() - 2)).requires_grad_()
            for name, w in list(weights.items())[1:]
        }
        logits = [*self.weights.values(), *self.units.values()]
        self.optimizer = torch.optim.Adam(logits, fused=True)  # one pass over the memory

    def open(self, tau: float) -> dict[str, Tensor]:
        """Product of the masks of each weight and of its input unit, in (0, 1), by layer name.

        Parameters
        ----------
        tau
            Sharpness of the sigmoid.
        """
        masks = {name: (tau * m).sigmoid() for name, m in self.weights.items()}
        return masks | {name: masks[name] * (tau * m).sigmoid() for name, m in self.units.items()}

    def step(
        self,
        slopes: dict[str, Tensor],
        spikes: dict[str, Tensor],
        strength: float,
        tau: float,
        rate: float,
    ) -> None:
        """Make one optimizer step on the loss plus a penalty on synaptic operations.

        Parameters
        ----------
        slopes
            Layer name -> gradient of the loss with respect to `open`, of the weight's shape.
        spikes
            Layer name -> number of spikes received from each input unit, [units]. Each spike costs
            one synaptic operation per weight that reads the unit.
        strength
            Penalty if all masks are 1; it decreases with the share of operations that is masked.
        tau
            Sharpness of the sigmoid.
        rate
            Learning rate.
        """
        self.optimizer.param_groups[0]["lr"] = rate
        self.optimizer.zero_grad()
        total = sum(
            float(counts.sum()) * self.weights[name][:, 0].numel()
            for name, counts in spikes.items()
        )
        opened = self.open(tau)
        gradients = []
        for name, mask in opened.items():
            cost = spikes[name].view(1, -1, *[1] * (mask.dim() - 2)) / max(total, 1.0)
            gradients.append(slopes[name] + strength * cost)
        torch.autograd.backward(list(opened.values()), gradients)
        self.optimizer.step()
