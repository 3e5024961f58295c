"""One time step after another by snnTorch itself: what every other plan is tested against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import snntorch as snn
import torch
from torch import Tensor, nn

from baselines.shared.activity import Pair, Recorded
from pipelines.networks.stages import Stage


def all_steps(
    stages: Sequence[Stage], x: Tensor, steps: int, gates: Mapping[str, Tensor]
) -> tuple[Tensor, dict[str, Recorded]]:
    """What the readout of a network gets, [T, B, features], and the activity of every layer.

    Parameters
    ----------
    stages
        The layers.
    x
        Input [T, B, C, H, W]; [1, B, C, H, W] is shown at every step.
    steps
        T.
    gates
        Layer -> units that are heard at each step, bool [units, T].
    """
    membranes: dict[str, Tensor] = {}
    pairs: list[dict[str, Pair]] = []
    features: list[Tensor] = []
    for t in range(steps):
        heard = {name: kept[:, t] for name, kept in gates.items()}
        y, seen = one_step(stages, x[t] if len(x) > 1 else x[0], membranes, heard)
        features.append(y.flatten(1))
        pairs.append(seen)
    activity: dict[str, Recorded] = {
        name: (torch.stack([p[name][0] for p in pairs]), torch.stack([p[name][1] for p in pairs]))
        for name in pairs[0]
    }
    return torch.stack(features), activity


def one_step(
    stages: Sequence[Stage],
    x: Tensor,
    membranes: dict[str, Tensor],
    heard: Mapping[str, Tensor] | None = None,
) -> tuple[Tensor, dict[str, Pair]]:
    """What the last stage sends at one time step, and input and output of every layer.

    Parameters
    ----------
    stages
        The layers.
    x
        Input [B, C, H, W].
    membranes
        State, read and updated; an empty dict starts a sample.
    heard
        Layer -> units whose spikes the others get, bool [units]; a layer without: all.
    """
    activity: dict[str, Pair] = {}
    carried = x
    for stage in stages:
        x = x.flatten(1) if isinstance(stage.weights, nn.Linear) else x
        current, received = stage.norm(stage.weights(x)), x
        if stage.shortcut:
            current = current + stage.shortcut(carried)
        y = _neuron(stage, current, membranes)
        if heard and stage.name in heard:
            y = y * heard[stage.name].to(y).view(-1, *[1] * (y.dim() - 2))
        x = stage.pool(y)
        activity[stage.name] = (received, y)
        if stage.shortcut and stage.shortcut.name:
            activity[stage.shortcut.name] = (carried, y)
        if stage.carries:
            carried = x if stage.carries == "output" else stage.pool(current)
    return x, activity


def _neuron(stage: Stage, current: Tensor, membranes: dict[str, Tensor]) -> Tensor:
    """What neurons send in one step; their membrane is read and updated."""
    if not isinstance(stage.neuron, snn.Leaky):
        return cast(Tensor, stage.neuron(current))
    before = membranes.get(stage.name, torch.zeros_like(current))
    y, membranes[stage.name] = stage.neuron(current, before)
    stage.neuron.mem = torch.zeros(0)  # the module must not keep the graph alive
    return cast(Tensor, y)
