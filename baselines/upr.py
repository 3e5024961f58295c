"""UPR: unstructured pruning of spiking networks for energy (Shi et al. 2024, ICLR).

Synapses and neurons have soft masks sigmoid(tau * m). Their logits m are trained with the loss plus
a penalty on synaptic operations. tau grows exponentially; at the end a mask is 1 where m > 0, and
0 elsewhere. A connection is there if its synapse and the neuron that it reads are there.

Adapted: the mask of a neuron multiplies the weights that read the neuron. A linear layer reads
neurons one by one; in front of a convolution, whose kernels read every place of a channel, the
neurons of a channel share a mask. The readout reads all neurons, without masks. A connection costs
one operation per spike that it carries; the authors' code does not count spikes. The authors choose
one factor of the penalty, which determines the density. To meet a target density, here each layer
has a factor in proportion to the square of (open connections / wanted connections). (Under one
factor whole layers close here, because batch norm hides a common factor of a layer's weights.) At
`stop` the connections with the largest m are selected, at the target density; m is that of the
synapse or that of its neuron, whichever is smaller.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from baselines.shared.activity import Activity
from baselines.shared.allocation import RANKED, layer_densities
from baselines.shared.contract import PruneContext, PrunerInfo, Quantity
from baselines.shared.hidden_weights import HiddenWeightPruner
from baselines.shared.selection import Scope

#: Power of the share of open connections over the wanted share by which a penalty grows.
POWER = 2


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

    def logits(self) -> dict[str, Tensor]:
        """The smaller of the logits m of each synapse and of the neuron that it reads, by layer.

        A connection is open if it is positive: then both masks are.
        """
        return {
            name: torch.minimum(m, self.units[name]) if name in self.units else m
            for name, m in self.weights.items()
        }

    def step(
        self,
        slopes: dict[str, Tensor],
        spikes: dict[str, Tensor],
        factors: dict[str, float],
        tau: float,
        rate: float,
    ) -> None:
        """Make one optimizer step on the loss plus penalties on synaptic operations.

        Parameters
        ----------
        slopes
            Layer name -> gradient of the loss with respect to `open`, of the weight's shape.
        spikes
            Layer name -> number of spikes received from each input unit, [units]. Each spike costs
            one synaptic operation per weight that reads the unit. In a layer that is not there, all
            weights cost the same.
        factors
            Layer name -> its penalty if all of its masks are 1; it decreases with the share of
            operations that is masked.
        tau
            Sharpness of the sigmoid.
        rate
            Learning rate.
        """
        self.optimizer.param_groups[0]["lr"] = rate
        self.optimizer.zero_grad()
        opened = self.open(tau)
        gradients = []
        for name, mask in opened.items():
            counts = spikes.get(name, mask.new_ones(mask.shape[1]))
            total = float(counts.sum()) * mask[:, 0].numel()
            cost = counts.view(1, -1, *[1] * (mask.dim() - 2)) / max(total, 1.0)
            gradients.append(slopes[name] + factors[name] * cost)
        torch.autograd.backward(list(opened.values()), gradients)
        self.optimizer.step()


@dataclass
class EnergyPruning(HiddenWeightPruner):
    """Train soft masks of synapses and neurons; a weight is theta times its two masks.

    Parameters
    ----------
    scope
        Which share of its connections each layer keeps: ``layer-wise``, ``erk`` or
        ``protect-small``.
    strength
        Penalty of a layer that does all its operations, while it has as many connections as
        wanted, > 0.
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

    stop: float = 0.5
    scope: Scope = "erk"
    strength: float = 1.0
    first: float = 5.0
    last: float = 1000.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.strength <= 0 or not 0 < self.first <= self.last:
            raise ValueError("need strength > 0 and 0 < first <= last")
        if self.scope not in RANKED:
            raise ValueError(f"scope must be one of {', '.join(RANKED)}, not {self.scope}")

    def begin(self, network: nn.Module, context: PruneContext) -> None:
        """Start with all masks at 1 / 2."""
        super().begin(network, context)
        self.soft = SoftMasks(self.hidden)
        self.tau = self.first
        density = context.density or 1.0
        self.wanted = layer_densities(context.structure, density, self.scope)
        self.factors = dict.fromkeys(self.hidden, 0.0)  # of the penalties now
        self.rate = 0.0  # learning rate of the logits

    def observe(self, activity: Activity) -> None:
        """Count the spikes that each layer receives from each unit in this batch."""
        self.spikes = {
            name: activity.received(name).detach().sum((0, 1)) for name in self.soft.units
        }

    def gradients(self) -> None:
        """Train the masks: one step on the loss plus the penalty."""
        if self.finished:
            return
        slopes = {
            name: weight.grad * self.hidden[name]
            for name, weight in self.layer_weights().items()
            if weight.grad is not None
        }
        self.soft.step(slopes, self.spikes, self.factors, self.tau, self.rate)

    def scores(self) -> dict[str, Tensor]:
        """Layer name -> the smaller of the logits of synapse and neuron, of the weight's shape."""
        return {name: m.detach() for name, m in self.soft.logits().items()}

    def opened(self) -> dict[str, float]:
        """Layer name -> share of the connections whose two masks are open (m > 0), in [0, 1]."""
        return {name: float((m > 0).double().mean()) for name, m in self.scores().items()}

    @torch.no_grad()
    def visible(self, progress: float) -> dict[str, Tensor]:
        """Layer name -> hidden weights times their masks; at `stop` these are 0 or 1.

        Also sets the factors of the penalties, by the shares of open connections.
        """
        for name, share in self.opened().items():
            self.factors[name] = self.strength * (share / self.wanted[name]) ** POWER
        self.rate = self.context.learning_rate(progress)
        self.tau = self.first * (self.last / self.first) ** min(1.0, progress / self.stop)
        masks = self.soft.open(self.tau)
        if self.finished:
            masks = {name: (m > 0).to(m) for name, m in self.soft.logits().items()}
        return {name: hidden * masks[name] for name, hidden in self.hidden.items()}

    def fidelity(self) -> tuple[Quantity, ...]:
        """Share of the connections that the masks close, before the exact selection."""
        asked = 1 - (self.context.density or 1.0)
        logits = torch.cat([m.flatten() for m in self.scores().values()])
        closed = float((logits <= 0).double().mean())
        return (
            Quantity("masks closed (m <= 0) at the cut", closed, "all that is pruned", 0.8 * asked),
        )
