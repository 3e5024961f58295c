"""The plan ``step``: one time step after another by snnTorch, the oracle of all other plans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from baselines.shared.activity import Pair, Recorded
from pipelines.networks.neurons import Neuron, State
from pipelines.networks.plans.plan import Plan
from pipelines.networks.stages import Stage


class Step(Plan):
    """Every layer at one time step, then every layer at the next."""

    name = "step"
    replayable = False

    def run(
        self, stages: Sequence[Stage], x: Tensor, gates: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Recorded]]:
        """Compute all layers before the readout."""
        states: dict[str, State] = {}
        pairs: list[dict[str, Pair]] = []
        features: list[Tensor] = []
        for t in range(self.spec.steps):
            heard = {name: kept[:, t] for name, kept in gates.items()}
            now = x[t] if len(x) > 1 else x[0]
            y, seen = one_step(self.neurons, stages, now, states, heard)
            features.append(y.flatten(1))
            pairs.append(seen)
        activity: dict[str, Recorded] = {
            name: (
                torch.stack([p[name][0] for p in pairs]),
                torch.stack([p[name][1] for p in pairs]),
            )
            for name in pairs[0]
        }
        return torch.stack(features), activity


def one_step(
    neurons: Neuron,
    stages: Sequence[Stage],
    x: Tensor,
    states: dict[str, State],
    heard: Mapping[str, Tensor] | None = None,
) -> tuple[Tensor, dict[str, Pair]]:
    """Compute one time step of all layers before the readout.

    Parameters
    ----------
    neurons
        Model of the neurons.
    stages
        The layers.
    x
        Input [B, C, H, W].
    states
        Layer -> state of its neurons, read and updated; an empty dict starts a sample.
    heard
        Layer -> units whose spikes the others receive, bool [units]; a layer that is not in it is
        heard.

    Returns
    -------
    tuple of Tensor and dict
        Output of the last layer, and of each layer its input and its output.
    """
    activity: dict[str, Pair] = {}
    carried = x  # input of the next shortcut
    for stage in stages:
        x = x.flatten(1) if isinstance(stage.weights, nn.Linear) else x
        current, received = stage.norm(stage.weights(x)), x
        if stage.shortcut:
            current = current + stage.shortcut(carried)
        y, states[stage.name] = neurons.step(stage.neuron, current, states.get(stage.name, ()))
        if heard and stage.name in heard:
            y = y * heard[stage.name].to(y).view(-1, *[1] * (y.dim() - 2))
        x = stage.pool(y)
        activity[stage.name] = (received, y)
        if stage.shortcut and stage.shortcut.name:
            activity[stage.shortcut.name] = (carried, y)
        if stage.carries:
            carried = x if stage.carries == "output" else stage.pool(current)
    return x, activity
