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
from baselines.shared.soft_masks import SoftMasks


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
