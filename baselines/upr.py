"""UPR: unstructured pruning of spiking networks for energy (Shi et al. 2024, ICLR).

Synapses and neurons have soft masks sigmoid(tau * m). Their logits m are trained with the loss plus
a penalty on synaptic operations. tau grows exponentially; at the end a mask is 1 where m > 0, and
0 elsewhere.

Adapted: the mask of a neuron multiplies the weights that read the neuron. A channel counts as one
neuron. The readout reads all neurons, without masks. A connection costs one operation per spike
that it carries; the authors' code does not count spikes. The authors do not control the final
density. Here the largest masked weights are selected at `stop`, at the target density.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from baselines.shared.activity import Activity
from baselines.shared.contract import PruneContext, PrunerInfo
from baselines.shared.hidden_weights import HiddenWeightPruner


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


@dataclass
class EnergyPruning(HiddenWeightPruner):
    """Train soft masks of synapses and neurons; a weight is theta times its two masks.

    Parameters
    ----------
    strength
        Penalty if all synaptic operations are done, >= 0. 0.1 is too much: it closes whole layers,
        because batch norm hides a common factor of a layer's weights.
    first, last
        tau at progress 0 and at `stop`, 0 < first <= last.
    """

    info = PrunerInfo(
        name="upr",
        summary="Trained masks of synapses and neurons under a penalty on synaptic operations.",
        paper="Shi et al. 2024, Towards energy efficient spiking neural networks, ICLR",
        granularities=("unstructured",),
        tracks=("from-scratch", "post-training"),
        needs_activity=True,
        needs_gradients=True,
    )

    strength: float = 0.01
    first: float = 5.0
    last: float = 1000.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.strength < 0 or not 0 < self.first <= self.last:
            raise ValueError("need strength >= 0 and 0 < first <= last")

    def begin(self, network: nn.Module, context: PruneContext) -> None:
        """Start with all masks at 1 / 2."""
        super().begin(network, context)
        self.soft = SoftMasks(self.hidden)
        self.tau = self.first
        self.rate = 0.0  # learning rate of the logits

    def observe(self, activity: Activity) -> None:
        """Count the spikes that each layer receives from each unit in this batch."""
        self.spikes = {name: activity.received(name).detach().sum((0, 1)) for name in self.hidden}

    def gradients(self) -> None:
        """Train the masks: one step on the loss plus the penalty."""
        if self.finished:
            return
        slopes = {
            name: weight.grad * self.hidden[name]
            for name, weight in self.layer_weights().items()
            if weight.grad is not None
        }
        self.soft.step(slopes, self.spikes, self.strength, self.tau, self.rate)

    def scores(self) -> dict[str, Tensor]:
        """Layer name -> absolute masked weights, of the weight's shape."""
        masks = self.soft.open(self.tau)
        return {name: (self.hidden[name] * mask).abs() for name, mask in masks.items()}

    @torch.no_grad()
    def visible(self, progress: float) -> dict[str, Tensor]:
        """Layer name -> hidden weights times their masks; without masks at `stop`.

        At `stop` the connections are fixed, so kept weights need no soft mask.
        """
        self.rate = self.context.learning_rate(progress)
        self.tau = self.first * (self.last / self.first) ** min(1.0, progress / self.stop)
        masks = self.soft.open(self.tau)
        return {
            name: hidden if self.finished else hidden * masks[name]
            for name, hidden in self.hidden.items()
        }
