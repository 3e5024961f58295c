"""What is known of spiking channels: membrane potentials, and how the loss wants their scales."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.shared.activity import Activity
from baselines.shared.contract import Probe
from baselines.shared.groups import Structure
from baselines.shared.masks import Masks


@torch.no_grad()
def mean_potentials(
    network: nn.Module, structure: Structure, activity: Activity
) -> dict[str, Tensor]:
    """Mean absolute membrane potential of each unit, recomputed from its layer's input.

    Parameters
    ----------
    network
        After each prunable LAYER it has batch norm ``LAYER_norm`` and, unless the layer is a
        shortcut, neurons ``LAYER_neuron``. Its ``neuron_currents`` turns the output of the former
        into input currents of the latter, and its ``neurons.step`` advances them by one time step.
    structure
        The layers and their groups.
    activity
        One batch.

    Returns
    -------
    dict
        Group name -> means [units] over steps, samples and map, before the reset, with batch
        norm over this batch; summed over the layers of a group.
    """

    def normalised(layer: str) -> Tensor:
        weights = network.get_submodule(layer)
        norm = cast(nn.BatchNorm1d, network.get_submodule(f"{layer}_norm"))
        x, _ = activity[layer]
        x = x.flatten(2) if isinstance(weights, nn.Linear) else x
        y: Tensor = functional.batch_norm(
            weights(x.flatten(0, 1)), None, None, norm.weight, norm.bias, True, eps=norm.eps
        )
        return cast(Tensor, y.unflatten(0, x.shape[:2]))

    means: dict[str, Tensor] = {}
    currents: Iterator[tuple[str, Tensor]] = cast(Any, network).neuron_currents(normalised)
    for layer, y in currents:
        neuron, steps = network.get_submodule(f"{layer}_neuron"), len(activity.sent(layer))
        state: tuple[Tensor, ...] = ()
        name = structure.group_of(layer).name
        for t in range(steps):
            _, state = cast(Any, network).neurons.step(neuron, y[t if len(y) > 1 else 0], state)
            mean = state[-1].abs().transpose(0, 1).flatten(1).mean(1)
            means[name] = mean.cpu() / steps + means.get(name, 0)
    return means


def scale_gradients(
    probe: Probe, structure: Structure, values: Mapping[str, Tensor], masks: Masks, samples: int
) -> dict[str, Tensor]:
    """How strongly the loss wants each unit's batch norm scales to change, dead units' too.

    Parameters
    ----------
    probe
        Passes the samples.
    structure
        Says which scales a unit owns: vectors named ``weight``.
    values
        Parameter name -> value, as if no unit were dead.
    masks
        Dead units have a scale and shift of zero, and their weights.
    samples
        How many to pass.

    Returns
    -------
    dict
        Group name -> |dL/d scale| [units], L being the mean loss.
    """
    vectors = {n for n, mask in masks.parameters.items() if mask.dim() == 1}
    values = {
        n: v * masks.parameters[n].to(v.device) if n in vectors else v for n, v in values.items()
    }
    scales = sorted(n for n in vectors if n.endswith(".weight"))
    for name in scales:
        values[name] = values[name].requires_grad_()
    losses = [
        probe.loss(inputs, labels, reduction="sum", parameters=values)
        for inputs, labels in probe.batches(samples)
    ]
    gradients = torch.autograd.grad(
        torch.stack(losses).sum() / samples, [values[n] for n in scales]
    )
    sums = structure.unit_sums(dict(zip(scales, gradients, strict=True)))
    return {name: total.abs().cpu() for name, total in sums.items()}
