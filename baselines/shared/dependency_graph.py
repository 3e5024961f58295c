"""Adapter of torch-pruning's dependency graph: find unit groups, score and remove their units.

torch-pruning traces the graph, computes importance scores and removes units from modules. It does
not select units: its selection skips groups that would vanish, over-prunes on ties and counts
channels instead of parameters. `baselines.shared.selection` selects for every method.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
import torch_pruning as tp
from torch import Tensor, nn
from torch.func import functional_call

from baselines.shared.groups import (
    PrunableLayer,
    Slice,
    Structure,
    UnitGroup,
    parameter_shapes,
    prunable_layers,
)
from baselines.shared.masks import Masks

Forward = Callable[[nn.Module, Tensor], Tensor]
Importance = Callable[[Any], Tensor | None]

#: Module types whose units own slices that this adapter knows.
_WEIGHTS = (nn.modules.conv._ConvNd, nn.Linear)
_SLICED = (*_WEIGHTS, nn.modules.batchnorm._BatchNorm)


def unit_structure(
    network: nn.Module, readout: str, example: Tensor, forward: Forward
) -> Structure:
    """Trace a network and return its prunable layers and unit groups.

    Parameters
    ----------
    network
        The network; its parameters do not change.
    readout
        Name of the layer whose outputs are the classes. It is never pruned.
    example
        One input, [B, ...].
    forward
        Forward pass of one time step. A forward pass that folds time into the batch cannot be
        traced.

    Returns
    -------
    Structure
        Layers in the order of the network, and groups in the order of their first layer.

    Raises
    ------
    ValueError
        If a unit owns a parameter of a module type that this adapter does not know.
    """
    modules = dict(network.named_modules())
    names = {id(module): name for name, module in modules.items()}
    names |= {id(parameter): name for name, parameter in network.named_parameters()}
    training = network.training
    network.eval()
    graph = tp.DependencyGraph().build_dependency(
        network, example, forward_fn=_with_copies(forward), verbose=False
    )
    network.train(training)
    layers = prunable_layers(network, readout)
    found = [
        _unit_group(group, names, layers)
        for group in graph.get_all_groups(ignored_layers=[modules[readout]])
    ]
    order = [layer.name for layer in layers]
    groups = tuple(sorted(found, key=lambda group: order.index(group.name)))
    return Structure(layers, parameter_shapes(network), groups)


class _Call(nn.Module):
    """Module that calls a function of a network; ``functional_call`` needs a module."""

    def __init__(self, network: nn.Module, function: Forward) -> None:
        super().__init__()
        self.network = network
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(self.network, x)


def _with_copies(forward: Forward) -> Forward:
    """Let a forward pass use copies of the parameters that units may own.

    torch-pruning keeps the autograd graph of the traced pass alive. The parameters themselves must
    not belong to this graph, because a CUDA graph of the training step cannot be captured while
    they do. Parameters of unknown modules are not copied: torch-pruning must find them in the
    graph, so that `_unit_group` can refuse them.
    """

    def run(network: nn.Module, x: Tensor) -> Any:
        call = _Call(network, forward)
        copies = {
            f"{name}.{key}": parameter.detach().clone().requires_grad_()
            for name, module in call.named_modules()
            for key, parameter in module.named_parameters(recurse=False)
            if isinstance(module, _SLICED) or parameter.numel() == 1
        }
        return functional_call(call, copies, (x,))

    return run


def _unit_group(group: Any, names: dict[int, str], layers: tuple[PrunableLayer, ...]) -> UnitGroup:
    """Convert a group of torch-pruning."""
    size = len(group[0].root_idxs)
    graph = group._DG
    slices: list[Slice] = []
    producers: list[str] = []
    prunable = {layer.name for layer in layers}
    for item in group:
        module = item.dep.target.module
        parameters = dict(module.named_parameters()) if isinstance(module, nn.Module) else None
        name = names.get(id(module), "")
        index = _owned(item.idxs, item.root_idxs, size)
        if isinstance(module, _WEIGHTS):
            outputs = graph.is_out_channel_pruning_fn(item.dep.handler)
            slices.append(Slice(f"{name}.weight", 0 if outputs else 1, index))
            if outputs and module.bias is not None:
                slices.append(Slice(f"{name}.bias", 0, index))
            if outputs and name in prunable:
                producers.append(name)
        elif isinstance(module, _SLICED):
            slices.extend(Slice(f"{name}.{key}", 0, index) for key in parameters or ())
        elif parameters is None or any(p.numel() > 1 for p in parameters.values()):
            kind = type(module).__name__
            raise ValueError(
                f"cannot prune units that own a part of '{name}' ({kind}): only slices of "
                "convolution, linear and batch norm layers are known; use such layers instead"
            )
    producers.sort(key=[layer.name for layer in layers].index)
    return UnitGroup(producers[0], size, tuple(producers), tuple(slices), handle=group)


def _owned(index: list[int], roots: list[int], size: int) -> Tensor:
    """Arrange positions by the unit (root index) that owns them, [units, k]."""
    order = torch.tensor(roots).argsort(stable=True)
    return torch.tensor(index)[order].view(size, -1)


def unit_scores(structure: Structure, importance: Importance) -> dict[str, Tensor]:
    """Score every group with an importance of torch-pruning.

    Parameters
    ----------
    structure
        A structure from `unit_structure`.
    importance
        An instance of a ``torch_pruning.importance`` class.

    Returns
    -------
    dict
        Group name -> scores [units].

    Raises
    ------
    ValueError
        If the importance returns no score for a group.
    """
    scores = {}
    for group in structure.groups:
        score = importance(group.handle)
        if score is None:
            raise ValueError(f"{type(importance).__name__} has no score for group '{group.name}'")
        scores[group.name] = score[: group.size]  # longer if units have several outputs
    return scores


def relative(scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Divide the scores of each group by their mean, so that they compare across groups."""
    return {name: score / score.mean().clamp_min(1e-30) for name, score in scores.items()}


def remove_units(structure: Structure, masks: Masks) -> None:
    """Remove pruned units from the network's modules, in place.

    The network then computes the same outputs as the masked network. Make a new optimizer
    afterwards: an existing one still holds the old parameters.

    Parameters
    ----------
    structure
        A structure from `unit_structure`, whose graph belongs to the network.
    masks
        Kept units; groups without an entry keep all of theirs.
    """
    for group in structure.groups:
        if group.name in masks.units:
            dead = (~masks.units[group.name]).nonzero().flatten().tolist()
            if dead:
                cast(Any, group.handle).prune(dead)


def surviving_steps(structure: Structure, masks: Masks) -> dict[str, Tensor]:
    """Return kept time steps after `remove_units`: layer name -> bool [kept units, T]."""
    return {
        layer: kept[masks.units[structure.group_of(layer).name]]
        for layer, kept in masks.steps.items()
    }
