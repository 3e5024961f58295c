"""Scores of channels in spiking networks: potentials, criticality, and gradients of scales."""

from __future__ import annotations

import math
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
def potentials(network: nn.Module, activity: Activity) -> Iterator[tuple[str, Tensor]]:
    """Recompute the membrane potentials of each layer's neurons from the input of the layer.

    Parameters
    ----------
    network
        A network with batch norm ``LAYER_norm`` behind each prunable LAYER, and, except for
        projection shortcuts, neurons ``LAYER_neuron``. Its method ``neuron_currents`` turns the
        normalised outputs of the layers into the input currents of the neurons, and its
        ``neurons.step`` advances neurons by one time step.
    activity
        Activity of one batch.

    Yields
    ------
    tuple of str and Tensor
        Layer and potential before the reset at one time step, [B, units, ...map]; all time steps
        of a layer, one after another. Batch norm uses the statistics of the batch.
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

    currents: Iterator[tuple[str, Tensor]] = cast(Any, network).neuron_currents(normalised)
    for layer, current in currents:
        neuron = network.get_submodule(f"{layer}_neuron")
        state: tuple[Tensor, ...] = ()
        for t in range(len(activity.sent(layer))):
            # A static input gives the same current, of T = 1, at every step.
            given = current[t if len(current) > 1 else 0]
            _, state = cast(Any, network).neurons.step(neuron, given, state)
            yield layer, state[-1]


@torch.no_grad()
def mean_potentials(
    network: nn.Module, structure: Structure, activity: Activity
) -> dict[str, Tensor]:
    """Mean absolute membrane potential of each unit, recomputed from the input of its layer.

    Parameters
    ----------
    network, activity
        As for `potentials`.
    structure
        The prunable layers and their groups.

    Returns
    -------
    dict
        Group name -> [units], mean over time steps, samples and feature map of the absolute
        potential before the reset. For a group of several layers it is the sum over its layers.
    """
    means: dict[str, Tensor] = {}
    for layer, potential in potentials(network, activity):
        group = structure.group_of(layer).name
        mean = potential.abs().transpose(0, 1).flatten(1).mean(1)
        means[group] = mean.cpu() / len(activity.sent(layer)) + means.get(group, 0)
    return means


@torch.no_grad()
def criticalities(network: nn.Module, activity: Activity) -> dict[str, Tensor]:
    """Criticality of the units of each layer in one batch.

    Parameters
    ----------
    network, activity
        As for `potentials`; the neurons have a ``threshold``.

    Returns
    -------
    dict
        Layer name -> [units], in (0, 1]: mean over samples of the largest value over the feature
        map of the mean over time steps of the surrogate derivative.
    """
    sums: dict[str, Tensor] = {}
    for layer, potential in potentials(network, activity):
        neuron = network.get_submodule(f"{layer}_neuron")
        distance = math.pi * (potential - cast(Any, neuron).threshold)
        sums[layer] = 1 / (1 + distance.square()) + sums.get(layer, 0)
    return {
        layer: (total.flatten(2).amax(2) if total.dim() > 2 else total).mean(0).cpu()
        / len(activity.sent(layer))
        for layer, total in sums.items()
    }


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
