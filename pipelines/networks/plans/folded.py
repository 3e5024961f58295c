"""The plan ``folded``: layer by layer, with time folded into the batch, in PyTorch alone.

Batch norm takes its statistics over time and batch. In training that is another function than batch
norm per time step; in evaluation both agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from baselines.shared.activity import Recorded, Unwritten
from pipelines.kernels.cpu import grey_convolution
from pipelines.kernels.flatten import flatten_maps
from pipelines.networks.plans.plan import Name, Plan, over_time
from pipelines.networks.stages import Stage


class Layer(NamedTuple):
    """What one layer has computed, each [T, B, ...].

    Parameters
    ----------
    received
        Its input.
    sent
        Output of its neurons.
    pooled
        The same after pooling: the input of the next layer.
    """

    received: Tensor
    sent: Tensor | Unwritten
    pooled: Tensor


class Folded(Plan):
    """All time steps of a layer, then all of the next. Other plans replace parts of it."""

    name: ClassVar[Name] = "folded"

    def run(
        self, stages: Sequence[Stage], x: Tensor, gates: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Recorded]]:
        """Compute all layers before the readout."""
        activity: dict[str, Recorded] = {}
        carried = x  # input of the next shortcut
        for stage in stages:
            gate = gates.get(stage.name)
            layer = None if stage.joined else self.layer(stage, x, gate)
            if layer is None:
                received, weighted = self.weigh(stage.weights, x)
                current = over_time(stage.norm, weighted)
                if stage.shortcut:
                    current = current + over_time(stage.shortcut, carried)
                layer = self.send(stage, received, self.fire(stage, current), gate)
            x = layer.pooled
            activity[stage.name] = (layer.received, layer.sent)
            if stage.shortcut and stage.shortcut.name:
                activity[stage.shortcut.name] = (carried, layer.sent)
            if stage.carries:
                carried = x if stage.carries == "output" else self.pool(stage.pool, current)
        return flatten_maps(x), activity

    def layer(self, stage: Stage, x: Tensor, gate: Tensor | None) -> Layer | None:
        """Compute a layer without shortcuts at once, or return None: part by part, as here.

        Parameters
        ----------
        stage
            The layer.
        x
            Its input, [T, B, ...], or [1, B, ...] if it is the same at every time step.
        gate
            Time steps at which others receive the spikes of a unit, bool [units, T]; None: all.
        """
        del stage, x, gate
        return None

    def weigh(self, weights: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        """Apply the weights of a layer: its input as the weights take it, and the result."""
        if isinstance(weights, nn.Linear):
            x = flatten_maps(x)
        elif isinstance(weights, nn.Conv2d) and grey_convolution.suits(weights, x):
            return x, over_time(partial(grey_convolution.convolve, weights), x)
        return x, over_time(weights, x)

    def fire(self, stage: Stage, current: Tensor) -> Tensor:
        """Apply the neurons of a layer; they may overwrite a current that no shortcut reads."""
        return self.neurons.scan(stage.neuron, current, overwrite=stage.carries != "current")

    def send(self, stage: Stage, received: Tensor, fired: Tensor, gate: Tensor | None) -> Layer:
        """Apply gate and pooling to the output of the neurons, [T, B, ...]."""
        sent = gated(fired, gate)
        return Layer(received, sent, self.pool(stage.pool, sent))


def gated(y: Tensor, gate: Tensor | None) -> Tensor:
    """Withhold silenced spikes of [T, B, units, ...]; the gate is bool [units, T]."""
    if gate is None:
        return y
    kept = gate.t().to(y)
    return y * kept.view(len(kept), 1, -1, *[1] * (y.dim() - 3))
