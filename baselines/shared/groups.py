"""Prunable layers, and groups of units (channels or neurons) that own slices of parameters.

A convolution channel owns a row of its convolution's weight, an entry of the batch norm's scale
and shift, and a column in the weight of every layer that reads the channel. Removing the channel
removes all of these. In a residual network several layers produce the units of one group, because
their outputs are added.
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
        For a projection shortcut, which has no neurons of its own: name of the layer to whose
        input current the shortcut's output is added. The activity of the shortcut reports the
        neurons of that layer. None for all other layers.
    transposed
        Whether the weight is [inputs, outputs, ...], as that of a transposed convolution.
    """

    name: str
    kind: Literal["conv", "linear"]
    shape: tuple[int, ...]
    drives: str | None = None
    transposed: bool = False

    @property
    def outputs(self) -> int:
        """Number of output units, per group of a transposed convolution."""
        return self.shape[1 if self.transposed else 0]

    @property
    def inputs(self) -> int:
        """Number of input units, per group of a convolution."""
        return self.shape[0 if self.transposed else 1]

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
    """Entries of one parameter that the units of a group own.

    Parameters
    ----------
    parameter
        Name of the parameter.
    dim
        Dimension along which units are removed: 0 for outputs, 1 for inputs.
    index
        The k positions along `dim` that each unit owns, [units, k]. k > 1 if a linear layer reads
        the flattened feature maps of channels.
    """

    parameter: str
    dim: int
    index: Tensor

    def kept(self, units: Tensor, size: int) -> Tensor:
        """Expand kept units, bool [units], to kept positions along `dim`, bool [size]."""
        kept = torch.ones(size, dtype=torch.bool)
        kept[self.index[~units].flatten()] = False
        return kept


@dataclass(frozen=True)
class UnitGroup:
    """Units that are removed together from all layers that produce or read them.

    Parameters
    ----------
    name
        Name of the first prunable layer that produces the units.
    size
        Number of units.
    producers
        Names of all prunable layers that produce the units; output i of each is unit i.
    slices
        All parameter entries that the units own.
    handle
        The group as torch-pruning represents it, for its importance scores and for removal.
    members
        For producers whose output i is not unit i: name -> the k outputs of each unit, [units, k].
        A unit of grouped convolutions has several outputs. Networks of the benchmark have none.
    """

    name: str
    size: int
    producers: tuple[str, ...]
    slices: tuple[Slice, ...]
    handle: object = field(default=None, repr=False, compare=False)
    members: Mapping[str, Tensor] = field(default_factory=dict, repr=False, compare=False)

    def of_units(self, producer: str, values: Tensor, dim: int = 0) -> Tensor:
        """Turn values of a producer's outputs into values of units: the mean over a unit's outputs.

        Parameters
        ----------
        producer
            Name of a producer.
        values
            One value per output along `dim`.
        dim
            Dimension of the outputs.
        """
        if producer not in self.members:
            return values
        index = self.members[producer].to(values.device)
        parts = values.index_select(dim, index.flatten()).unflatten(dim, tuple(index.shape))
        mean: Tensor = parts.mean(dim % values.dim() + 1)
        return mean

    def of_outputs(self, producer: str, values: Tensor) -> Tensor:
        """Turn values of units, [units], into values of a producer's outputs, [outputs]."""
        if producer not in self.members:
            return values
        index = self.members[producer].to(values.device)
        spread = values.new_zeros(index.numel())
        spread[index.flatten()] = values.repeat_interleave(index.shape[1])
        return spread


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
        """Return the group whose units are the outputs of `layer`.

        Raises
        ------
        KeyError
            If the outputs of `layer` belong to no group, so that they cannot be removed.
        """
        for group in self.groups:
            if layer in group.producers:
                return group
        raise KeyError(f"the outputs of layer '{layer}' belong to no unit group")

    def emitters(self, group: UnitGroup) -> tuple[str, ...]:
        """Names of the producers of a group that have neurons of their own."""
        emitting = {layer.name for layer in self.layers if layer.drives is None}
        return tuple(name for name in group.producers if name in emitting)

    def axes(
        self, units: Mapping[str, Tensor], parameters: Container[str] | None = None
    ) -> dict[tuple[str, int], Tensor]:
        """Turn kept units into kept positions along the dimensions of parameters.

        Parameters
        ----------
        units
            Group name -> kept units, bool [units].
        parameters
            Names of the parameters of interest; None: all.

        Returns
        -------
        dict
            (parameter name, dimension) -> kept positions, bool [size of the dimension], for every
            dimension along which some group owns slices.
        """
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
        """Count the weights of each prunable layer that remain after units are removed.

        Parameters
        ----------
        units
            Group name -> kept units, bool [units]; empty: all units are kept.

        Returns
        -------
        dict
            Layer name -> number of remaining weights.
        """
        dead = {name: int((~kept).sum()) for name, kept in units.items()}
        # Removed positions per (parameter, dim). No two units own the same position.
        lost = Counter[tuple[str, int]]()
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
        """Density under `masks`: kept / prunable weights, in [0, 1]."""
        kept = sum(masks.kept(layer.weight, layer.size) for layer in self.layers)
        return kept / self.prunable

    def unit_sums(self, saliency: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Sum a saliency over all parameter entries that each unit owns.

        Parameters
        ----------
        saliency
            Parameter name -> values of the parameter's shape, or of shape [..., *shape], for
            example one value per sample. Missing parameters count as zero.

        Returns
        -------
        dict
            Group name -> sums, [units] or [..., units].
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
            Group name -> kept units, bool [units]; either all groups or none.
        weights
            Layer name -> kept weights, bool of the weight's shape.

        Returns
        -------
        Masks
            An entry is kept if its unit and its weight are kept.
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
    """Sum the entries that each unit owns; the last `dims` dimensions are the parameter's."""
    batch = values.shape[: values.dim() - dims]
    along = values.reshape(-1, *values.shape[len(batch) :]).movedim(1 + cut.dim, 1)
    totals = along.flatten(2).sum(2) if dims > 1 else along
    owned = totals[:, cut.index.to(values.device).flatten()]
    return owned.reshape(*batch, *cut.index.shape).sum(-1)


def prunable_layers(network: nn.Module, readout: str) -> tuple[PrunableLayer, ...]:
    """Return every convolution and linear layer except `readout`, whose outputs are the classes."""
    layers: list[PrunableLayer] = []
    for name, module in network.named_modules():
        if name != readout and isinstance(module, nn.modules.conv._ConvNd | nn.Linear):
            kind: Literal["conv", "linear"] = "linear" if isinstance(module, nn.Linear) else "conv"
            shape = tuple(module.weight.shape)
            layers.append(PrunableLayer(name, kind, shape, transposed=_is_transposed(module)))
    return tuple(layers)


def _is_transposed(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.conv._ConvTransposeNd)


def parameter_shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the shape of every parameter by name."""
    return {name: tuple(parameter.shape) for name, parameter in network.named_parameters()}


def weight_structure(network: nn.Module, readout: str) -> Structure:
    """Return the structure for pruning single weights: layers without unit groups."""
    return Structure(prunable_layers(network, readout), parameter_shapes(network))
