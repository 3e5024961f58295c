"""The torch-pruning adapter: which units exist, their scores, their physical removal.

torch-pruning traces the dependency graph, scores groups and cuts modules. It does not choose:
its own selection skips groups that would vanish, over-prunes on ties and counts channels
instead of parameters, so `baselines.shared.selection` decides for every method.
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

#: Modules whose slices are known.
_WEIGHTS = (nn.modules.conv._ConvNd, nn.Linear)
_SLICED = (*_WEIGHTS, nn.modules.batchnorm._BatchNorm)


def unit_structure(
    network: nn.Module, readout: str, example: Tensor, forward: Forward
) -> Structure:
    """Trace a network and return its prunable layers and unit groups.

    Parameters
    ----------
    network
        The network; its parameters are not changed.
    readout
        Name of the layer whose outputs are the classes, which is never pruned.
    example
        One input, [B, ...].
    forward
        One-step forward pass; a forward pass that folds time into the batch cannot be traced.

    Raises
    ------
    ValueError
        If a unit owns a parameter of a module whose slices are not known.
    """
    modules = dict(network.named_modules())
    names = {id(module): name for name, module in modules.items()}
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
    """A function of a network as a module."""

    def __init__(self, network: nn.Module, function: Forward) -> None:
        super().__init__()
        self.network = network
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(self.network, x)


def _with_copies(forward: Forward) -> Forward:
    """A forward pass with copies of the parameters, but for those that no unit may own.

    Torch-Pruning keeps the graph of the pass that it traces. The parameters themselves must not
    belong to it: on a GPU no training step could be recorded while they do.
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
    """Translate one torch-pruning group."""
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
            raise ValueError(f"cannot prune through '{name}' ({kind}): its slices are not known")
    producers.sort(key=[layer.name for layer in layers].index)
    return UnitGroup(producers[0], size, tuple(producers), tuple(slices), handle=group)


def _owned(index: list[int], roots: list[int], size: int) -> Tensor:
    """Positions that each unit owns, [units, k]."""
    order = torch.tensor(roots).argsort(stable=True)
    return torch.tensor(index)[order].view(size, -1)


def unit_scores(structure: Structure, importance: Importance) -> dict[str, Tensor]:
    """Score every group with a torch-pruning importance: group name -> [units].

    Raises
    ------
    ValueError
        If the importance finds nothing to score in a group.
    """
    scores = {}
    for group in structure.groups:
        score = importance(group.handle)
        if score is None:
            raise ValueError(f"{type(importance).__name__} has no score for group '{group.name}'")
        scores[group.name] = score
    return scores


def relative(scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Divide each group's scores by their mean, so that groups of different size compare."""
    return {name: s / s.mean().clamp_min(1e-30) for name, s in scores.items()}


def remove_units(structure: Structure, masks: Masks) -> None:
    """Cut the dead units out of the network's modules, in place.

    The outputs of the network stay those of the masked network. Optimizers made before are
    stale afterwards: they hold the old parameters.
    """
    for group in structure.groups:
        if group.name in masks.units:
            dead = (~masks.units[group.name]).nonzero().flatten().tolist()
            if dead:
                cast(Any, group.handle).prune(dead)


def surviving_steps(structure: Structure, masks: Masks) -> dict[str, Tensor]:
    """Kept time steps, layer -> bool [units, T], of the units that removal leaves."""
    return {
        layer: kept[masks.units[structure.group_of(layer).name]]
        for layer, kept in masks.steps.items()
    }
