"""UPR: unstructured pruning of spiking networks for energy (Shi et al. 2024, ICLR).

Synapses and neurons have masks sigmoid(tau * m), trained with the loss and a penalty on synaptic
operations; tau grows exponentially, and in the end masks are open where m > 0.

Adapted: a neuron mask acts on the weights that read it (a channel is one neuron; the readout reads
all); a connection costs the spikes that it carries, which the authors' code does not count; their
density is a result, here the shared selection keeps the largest masked weights at `stop`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from baselines.shared.activity import Activity
from baselines.shared.contract import PruneContext, PrunerInfo
from baselines.shared.hidden_weights import HiddenWeightPruner, SoftMasks


@dataclass
class EnergyPruning(HiddenWeightPruner):
    """Train masks of synapses and neurons; a weight is w = theta * both masks.

    Parameters
    ----------
    strength
        What all operations add to the loss; 0.1 closes layers, as batch norm hides a factor.
    first, last
        tau at the start and at `stop`.
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
        """Take the network; all masks are half open."""
        super().begin(network, context)
        self.soft, self.tau, self.rate = SoftMasks(self.hidden), self.first, 0.0

    def observe(self, activity: Activity) -> None:
        """Count the spikes that each layer receives from each neuron."""
        self.spikes = {n: activity.received(n).detach().sum((0, 1)) for n in self.hidden}

    def gradients(self) -> None:
        """Move the masks along the gradients of loss and operations."""
        if not self.finished:
            grads = {n: w.grad for n, w in self.layer_weights().items() if w.grad is not None}
            slopes = {n: g * self.hidden[n] for n, g in grads.items()}
            self.soft.step(slopes, self.spikes, self.strength, self.tau, self.rate)

    def scores(self) -> dict[str, Tensor]:
        """Sizes of the masked weights."""
        return {n: (self.hidden[n] * m).abs() for n, m in self.soft.open(self.tau).items()}

    @torch.no_grad()
    def visible(self, progress: float) -> dict[str, Tensor]:
        """Hidden weights times their masks; whole at `stop`, where masks become hard."""
        self.rate = self.context.learning_rate(progress)
        self.tau = self.first * (self.last / self.first) ** min(1.0, progress / self.stop)
        masks = self.soft.open(self.tau)
        return {n: w if self.finished else w * masks[n] for n, w in self.hidden.items()}
