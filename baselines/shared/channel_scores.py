"""Scores of channels in spiking networks: membrane potentials, and gradients of scales."""

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
    """Mean absolute membrane potential of each unit, recomputed from the input of its layer.

    Parameters
    ----------
    network
        A network with batch norm ``LAYER_norm`` behind each prunable LAYER, and, except for
        projection shortcuts, neurons ``LAYER_neuron``. Its method ``neuron_currents`` turns the
        normalised outputs of the layers into the input currents of the neurons, and its
        ``neurons.step`` advances neurons by one time step.
    structure
        The prunable layers and their groups.
    activity
        Activity of one batch.

    Returns
    -------
    dict
        Group name -> [units], mean over time steps, samples and feature map of the absolute
        potential before the reset. Batch norm uses the statistics of the batch. For a group of
        several layers it is the sum over its layers.
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
    for layer, current in currents:
        neuron = network.get_submodule(f"{layer}_neuron")
        steps = len(activity.sent(layer))
        group = structure.group_of(layer).name
        state: tuple[Tensor, ...] = ()
        for t in range(steps):
            # A static input gives the same current, of T = 1, at every step.
            given = current[t if len(current) > 1 else 0]
            _, state = cast(Any, network).neurons.step(neuron, given, state)
            mean = state[-1].abs().transpose(0, 1).flatten(1).mean(1)
            means[group] = mean.cpu() / steps + means.get(group, 0)
    return means


def scale_gradients(
    probe: Probe, structure: Structure, values: Mapping[str, Tensor], masks: Masks, samples: int
) -> dict[str, Tensor]:
    """Absolute gradient of the loss with respect to each unit's batch norm scales.

    Pruned units have gradients too, as their weights are kept: only their batch norm scale and
    shift are zero.

    Parameters
    ----------
    probe
        Passes the samples.
    structure
        The groups; the scales of a unit are its entries of vectors named ``weight``.
    values
        Parameter name -> value before masking.
    masks
        Where the scale and shift of pruned units are set to zero. Masks of other parameters do not
        apply.
    samples
        Number of training samples; they are charged to the budget.

    Returns
    -------
    dict
        Group name -> absolute gradient of the mean loss with respect to the scale, [units].
    """
    vectors = {name for name, mask in masks.parameters.items() if mask.dim() == 1}
    parameters = dict(values)
    for name in vectors:
        parameters[name] = values[name] * masks.parameters[name].to(values[name].device)
    scales = sorted(name for name in vectors if name.endswith(".weight"))
    for name in scales:
        parameters[name] = parameters[name].requires_grad_()
    losses = [
        probe.loss(inputs, labels, reduction="sum", parameters=parameters)
        for inputs, labels in probe.batches(samples)
    ]
    gradients = torch.autograd.grad(
        torch.stack(losses).sum() / samples, [parameters[name] for name in scales]
    )
    sums = structure.unit_sums(dict(zip(scales, gradients, strict=True)))
    return {name: total.abs().cpu() for name, total in sums.items()}
