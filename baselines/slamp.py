"""SLAMP: LAMP whose layer scores know how errors add up over time steps (arXiv 2603.14946).

After the abstract: the full text was not available. The abstract says that LAMP is generalised to
spiking networks by a bound of the worst-case distortion over layers and time steps, and that the
scores equal LAMP's for one time step. The factor below is ours.

LAMP's score of weight u is w_u^2 / sum_{v >= u} w_v^2: the squared relative distortion of a layer's
output, at most, when u is pruned last. In a spiking layer the distortion of step s stays in the
membrane as beta^(t - s). With n_s the norm of the layer's input at step s, the distortion at step t
is at most proportional to m_t = sum_{s <= t} beta^(t - s) n_s. So the scores of a layer are
multiplied by max_t m_t^2 / mean_s n_s^2, which is 1 for one step. Norms are moving averages over
training batches.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from baselines.shared.activity import Activity
from baselines.shared.contract import PruneContext, PrunerInfo
from baselines.shared.gradual_pruner import GradualPruner
from baselines.shared.lamp_scores import lamp


@dataclass
class Slamp(GradualPruner):
    """Score a weight by LAMP times the worst distortion of its layer's membranes over time.

    Parameters
    ----------
    momentum
        Weight of the previous average in the moving averages of the input, in [0, 1).
    """

    info = PrunerInfo(
        name="slamp",
        summary="LAMP with layer factors for the distortion that adds up over time steps.",
        paper="Wang et al. 2026, Spiking layer-adaptive magnitude-based pruning, arXiv 2603.14946",
        granularities=("unstructured",),
        tracks=("from-scratch", "post-training"),
        needs_activity=True,
        after_abstract=True,
        aims_at_synops=True,
    )

    momentum: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), not {self.momentum}")

    def begin(self, network: nn.Module, context: PruneContext) -> None:
        """Start the averages."""
        super().begin(network, context)
        self.power: dict[str, Tensor] = {}  # layer name -> mean input at each time step [T]

    @torch.no_grad()
    def observe(self, activity: Activity) -> None:
        """Average the input of each layer: of spikes, the sum is the squared norm."""
        if self.finished or self.context.steps == 1:
            return
        for layer in self.context.structure.layers:
            power = activity.received(layer.name).abs().sum(2).mean(1)
            power = power.expand(self.context.steps)  # a static input has T = 1
            old = self.power.get(layer.name, power)
            self.power[layer.name] = old.lerp(power, 1 - self.momentum)

    def weight_scores(self) -> dict[str, Tensor]:
        """Layer name -> scores of the weight's shape."""
        factors = {}
        for layer in self.context.structure.layers if self.power else ():
            neuron = self.network.get_submodule(f"{layer.drives or layer.name}_neuron")
            beta = torch.as_tensor(neuron.beta).detach().clamp(0, 1)
            factors[layer.name] = time_factor(self.power[layer.name].cpu(), float(beta))
        return {
            name: lamp(weight.detach()) * factors.get(name, 1.0)
            for name, weight in self.layer_weights().items()
        }


def time_factor(power: Tensor, beta: float) -> float:
    """Worst squared distortion of the membrane, relative to the mean squared norm of the input.

    Parameters
    ----------
    power
        Mean squared norm of the input at each time step, [T].
    beta
        Decay of the membrane per step, in [0, 1].

    Returns
    -------
    float
        Between 1 and T^2; 1 if there is no input.
    """
    membrane = worst = 0.0
    for square in power.tolist():
        membrane = beta * membrane + square**0.5
        worst = max(worst, membrane**2)
    mean = float(power.mean())
    return worst / mean if mean > 0 else 1.0
