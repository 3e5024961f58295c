"""What can be pruned: layers, and the units (channels, neurons) that own slices of parameters.

A conv channel owns a row of its convolution's weight, an entry of the batch norm's scale and
shift, and a column of every layer that reads it. Removing the channel removes all of them, so
they form one group; in a residual network several layers share a group.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from baselines.shared.masks import Masks


@dataclass(frozen=True)
class PrunableLayer:
    """A convolution or linear layer whose weights count in the density.

    Parameters
    ----------
    name
        Module path in the network.
    kind
        ``conv`` or ``linear``.
    shape
        Shape of its weight, [outputs, inputs, ...].
    drives
        The layer to whose current it adds, if it has no neurons of its own: a projection shortcut
        does. In its activity, what it sends is what the neurons of that layer send.
    """

    name: str
    kind: Literal["conv", "linear"]
    shape: tuple[int, ...]
    drives: str | None = None

    @property
    def weight(self) -> str:
        """Name of the weight parameter."""
        return f"{self.name}.weight"

    @property
    def size(self) -> int:
        """Number of weights."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Slice:
    """The part of one parameter that the units of a group own.

    Parameters
    ----------
    parameter
        Name of the parameter.
    dim
        The dimension that is cut: 0 for outputs, 1 for inputs.
    index
        [units, k], the k positions along `dim` that each unit owns. k > 1 where a flattened
        map is read by a linear layer.
    """

    parameter: str
    dim: int
    index: Tensor

    def kept(self, units: Tensor, size: int) -> Tensor:
        """Spread kept units, bool [units], over the positions along `dim`, bool [size]."""
        kept = torch.ones(size, dtype=torch.bool)
        kept[self.index[~units].flatten()] = False
        return kept


@dataclass(frozen=True)
class UnitGroup:
    """Units that can be removed from the network.

    Parameters
    ----------
    name
        The first prunable layer that produces them.
    size
        Number of units.
    producers
        Every prunable layer whose outputs they are; output i is unit i.
    slices
        All that they own.
    handle
        The graph library's own view of the group, for its scores and its removal.
    """

    name: str
    size: int
    producers: tuple[str, ...]
    slices: tuple[Slice, ...]
    handle: object = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Structure:
    """The prunable layers of a network and its groups of units.

    Parameters
    ----------
    layers
        Prunable layers, in the order of the network.
    shapes
        Shape of every parameter that a mask may touch.
    groups
        Unit groups; empty when only single weights are pruned.
    """

    layers: tuple[PrunableLayer, ...]
    shapes: Mapping[str, tuple[int, ...]]
    groups: tuple[UnitGroup, ...] = ()
    prunable: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "prunable", sum(layer.size for layer in self.layers))

    def group_of(self, layer: str) -> UnitGroup:
        """Return the group that holds the outputs of `layer`.

        Raises
        ------
        KeyError
            If its outputs cannot be removed.
        """
        for group in self.groups:
            if layer in group.producers:
                return group
        raise KeyError(f"the outputs of layer '{layer}' belong to no unit group")

    def emitters(self, group: UnitGroup) -> tuple[str, ...]:
        """Producers of a group that have neurons of their own."""
        own = {layer.name for layer in self.layers if layer.drives is None}
        return tuple(name for name in group.producers if name in own)

    def axes(
        self, units: Mapping[str, Tensor], parameters: Container[str] | None = None
    ) -> dict[tuple[str, int], Tensor]:
        """Kept positions, bool, along each (parameter, dim) that some group cuts."""
        axes: dict[tuple[str, int], Tensor] = {}
        for group in self.groups:
            for cut in group.slices:
                if parameters is not None and cut.parameter not in parameters:
                    continue
                key = (cut.parameter, cut.dim)
                kept = cut.kept(units[group.name], self.shapes[cut.parameter][cut.dim])
                axes[key] = axes[key] & kept if key in axes else kept
        return axes

    def count(self, units: Mapping[str, Tensor]) -> dict[str, int]:
        """Weights of each prunable layer that remain when only `units` do (all, if empty)."""
        dead = {name: int((~kept).sum()) for name, kept in units.items()}
        lost = Counter[tuple[str, int]]()  # positions; no two units own the same one
        for group in self.groups if units else ():
            for cut in group.slices:
                lost[cut.parameter, cut.dim] += dead[group.name] * cut.index.shape[1]
        counts = {}
        for layer in self.layers:
            kept = layer.size
            for dim in (0, 1):
                kept = kept // layer.shape[dim] * (layer.shape[dim] - lost[layer.weight, dim])
            counts[layer.name] = kept
        return counts

    def density(self, masks: Masks) -> float:
        """Kept / prunable weights under `masks`."""
        kept = sum(masks.kept(layer.weight, layer.size) for layer in self.layers)
        return kept / self.prunable

    def unit_sums(self, saliency: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Sum a saliency over all that each unit owns.

        Parameters
        ----------
        saliency
            Parameter name -> values of its shape, or [..., *shape], for example one per sample.
            Parameters that are left out count as zero.

        Returns
        -------
        dict
            Group name -> sums [units], or [..., units].
        """
        sums = {}
        device = next((values.device for values in saliency.values()), None)
        for group in self.groups:
            parts = [
                _owned_sum(cut, saliency[cut.parameter], len(self.shapes[cut.parameter]))
                for cut in group.slices
                if cut.parameter in saliency
            ]
            none = torch.zeros(group.size, device=device)
            sums[group.name] = torch.stack(parts).sum(0) if parts else none
        return sums

    def masks(
        self, units: Mapping[str, Tensor] | None = None, weights: Mapping[str, Tensor] | None = None
    ) -> Masks:
        """Turn kept units and kept weights into masks of parameters.

        Parameters
        ----------
        units
            Group name -> bool [units].
        weights
            Layer name -> bool of the weight's shape.
        """
        units, weights = dict(units or {}), weights or {}
        parameters = {f"{name}.weight": kept.clone() for name, kept in weights.items()}
        for (name, dim), kept in self.axes(units).items() if units else ():
            shape = self.shapes[name]
            along = kept.view([-1 if d == dim else 1 for d in range(len(shape))])
            before = parameters.get(name, torch.ones((), dtype=torch.bool))
            parameters[name] = (before & along).expand(shape).clone()
        return Masks(parameters=parameters, units=units)


def _owned_sum(cut: Slice, values: Tensor, dims: int) -> Tensor:
    """Sum the entries of a parameter, the last `dims` of `values`, that each unit owns."""
    batch = values.shape[: values.dim() - dims]
    along = values.reshape(-1, *values.shape[len(batch) :]).movedim(1 + cut.dim, 1)
    totals = along.flatten(2).sum(2) if dims > 1 else along
    owned = totals[:, cut.index.to(values.device).flatten()]
    return owned.reshape(*batch, *cut.index.shape).sum(-1)


def prunable_layers(network: nn.Module, readout: str) -> tuple[PrunableLayer, ...]:
    """Every convolution and linear layer but the readout, whose outputs are the classes."""
    layers: list[PrunableLayer] = []
    for name, module in network.named_modules():
        if name != readout and isinstance(module, nn.modules.conv._ConvNd | nn.Linear):
            kind: Literal["conv", "linear"] = "linear" if isinstance(module, nn.Linear) else "conv"
            layers.append(PrunableLayer(name, kind, tuple(module.weight.shape)))
    return tuple(layers)


def parameter_shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every parameter."""
    return {name: tuple(parameter.shape) for name, parameter in network.named_parameters()}


def weight_structure(network: nn.Module, readout: str) -> Structure:
    """Structure for pruning single weights: layers without unit groups."""
    return Structure(prunable_layers(network, readout), parameter_shapes(network))
