"""Trophic support: what the readers of a unit return to it, from the readout back to the input.

The neurotrophic hypothesis says that a neuron lives on the factors that its targets return (Levi-
Montalcini 1987, Science 237:1154). Here the targets are the units that read a spike. Reader i, with
squared weights w_ij^2 (of a convolution: summed over the kernel) and mean input activities r_j,
has the input shares

    q_ij = w_ij^2 r_j / sum_k w_ik^2 r_k,

and a unit has the support T_j = sum_i T_i q_ij. A class of the readout has T = 1. The support is
conserved: the units of each layer share the number of classes, unless a reader is silent.

Backward propagation of importances is that of NISP (arXiv 1711.05908), which uses absolute weights
and no activity. A weight times the norm of its input is the score of Wanda (arXiv 2306.11695).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from baselines.shared.groups import Structure


@dataclass(frozen=True)
class Support:
    """Support of units and synapses.

    Parameters
    ----------
    units
        Group name -> T_j, [units]. Where several layers read the units, T_j is the sum.
    synapses
        Layer name -> T_i q_ij, [outputs, inputs], of every prunable layer.
    """

    units: Mapping[str, Tensor]
    synapses: Mapping[str, Tensor]


def shares(weight: Tensor, activity: Tensor) -> Tensor:
    """Input shares q_ij of a layer.

    Parameters
    ----------
    weight
        [outputs, inputs, ...kernel].
    activity
        Mean activity of the inputs, [inputs].

    Returns
    -------
    Tensor
        [outputs, inputs]. Rows add up to 1; the row of a reader without any input is 0.
    """
    drive = weight.detach().square().flatten(2).sum(2) if weight.dim() > 2 else weight.square()
    drive = drive * activity
    return drive / drive.sum(1, keepdim=True).clamp_min(1e-30)


def trophic_support(
    structure: Structure, weights: Mapping[str, Tensor], activity: Mapping[str, Tensor]
) -> Support:
    """Propagate the support from the readout back to the first layer.

    The layers are visited from the last to the first. So in a residual network a layer shares what
    the readers behind it have returned, and each producer of a sum shares the support of the sum in
    full.

    Parameters
    ----------
    structure
        The prunable layers and their groups, in the order of the network.
    weights
        Layer name -> weight, of every prunable layer and of the readout.
    activity
        Layer name -> mean activity of its inputs, [inputs], of the same layers.
    """
    units = {group.name: torch.zeros(group.size) for group in structure.groups}
    prunable = {layer.name for layer in structure.layers}
    synapses = {}
    for name in [*weights.keys() - prunable, *(layer.name for layer in reversed(structure.layers))]:
        flow = shares(weights[name].cpu(), activity[name].cpu())
        if name in prunable:
            flow = units[structure.group_of(name).name].unsqueeze(1) * flow
            synapses[name] = flow
        for group in structure.groups:
            for cut in group.slices:
                if cut.parameter == f"{name}.weight" and cut.dim == 1:
                    units[group.name] = units[group.name] + flow.sum(0)[cut.index].sum(1)
    return Support(units, synapses)
