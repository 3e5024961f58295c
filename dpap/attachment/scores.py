"""Groups in the form that the importance scores of torch-pruning read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch_pruning as tp
from torch import nn

from baselines.shared.groups import Slice, UnitGroup


@dataclass
class _Dependency:
    """A module, and the function by which torch-pruning would cut it."""

    layer: nn.Module
    pruning_fn: Any

    @property
    def handler(self) -> Any:
        return self.pruning_fn

    @property
    def target(self) -> _Target:
        return _Target(self.layer)


@dataclass
class _Target:
    module: nn.Module


@dataclass
class _Item:
    dep: _Dependency
    idxs: list[int]
    root_idxs: list[int]

    def __iter__(self) -> Iterator[Any]:
        return iter((self.dep, self.idxs))


def score_handle(network: nn.Module, group: UnitGroup) -> list[_Item]:
    """Return the parts of modules that a group owns, for ``torch_pruning.importance``.

    Parameters
    ----------
    network
        The network.
    group
        One of its groups.
    """
    items = []
    for cut in group.slices:
        path, _, key = cut.parameter.rpartition(".")
        module = network.get_submodule(path)
        function = _function(module, cut)
        if key == "weight" and function is not None:
            units, k = cut.index.shape
            roots = [unit for unit in range(units) for _ in range(k)]
            items.append(_Item(_Dependency(module, function), cut.index.flatten().tolist(), roots))
    return items


def _function(module: nn.Module, cut: Slice) -> Any:
    if isinstance(module, nn.modules.conv._ConvNd):
        outputs = cut.dim == (1 if module.transposed else 0)
        return tp.prune_conv_out_channels if outputs else tp.prune_conv_in_channels
    if isinstance(module, nn.Linear):
        return tp.prune_linear_out_channels if cut.dim == 0 else tp.prune_linear_in_channels
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return tp.prune_batchnorm_out_channels
    return tp.prune_layernorm_out_channels if isinstance(module, nn.LayerNorm) else None
