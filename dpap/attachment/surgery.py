"""Surgery: cut positions out of parameters, buffers and states, and correct their modules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from dpap.attachment.copies import Place, replace_tensor


@dataclass(frozen=True)
class Cut:
    """Positions of a tensor that the units of a group own.

    Parameters
    ----------
    module
        Path of the module that holds the tensor.
    place
        Attribute of the module, and keys below it.
    dim
        Dimension along which units are removed.
    size
        Size of this dimension in the dense network.
    group
        Name of the unit group.
    index
        The k positions of each unit, [units, k].
    """

    module: str
    place: Place
    dim: int
    size: int
    group: str
    index: Tensor


class _Counted:
    """Part of a normalisation that counts units which were removed; their values were zero.

    `dense` is the number of elements that the dense network normalised over (layer norm), or its
    number of channels (group norm).
    """

    dense: int

    def get_extra_state(self) -> int:
        """Return `dense`, for the state dict."""
        return self.dense

    def set_extra_state(self, state: Any) -> None:
        """Set `dense`."""
        self.dense = int(state)


class CountedLayerNorm(_Counted, nn.LayerNorm):
    """Layer norm whose mean and variance count units that were removed."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise over the last dimensions."""
        y = x.flatten(x.dim() - len(self.normalized_shape))
        y = _normalised(y, self.dense, self.eps).view(x.shape)
        if self.weight is not None:
            y = y * self.weight
        return y if self.bias is None else y + self.bias


class CountedGroupNorm(_Counted, nn.GroupNorm):
    """Group norm whose means and variances count units that were removed."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise over the channels of each group and over the map."""
        groups = x.shape[1] if self.num_groups == self.dense else self.num_groups
        y = x.reshape(len(x), groups, -1)
        count = self.dense // self.num_groups * x[0, 0].numel()
        y = _normalised(y, count, self.eps).view(x.shape)
        shape = (1, -1, *[1] * (x.dim() - 2))
        if self.weight is not None:
            y = y * self.weight.view(shape)
        return y if self.bias is None else y + self.bias.view(shape)


def _normalised(x: Tensor, count: int, eps: float) -> Tensor:
    """Normalise x over its last dimension, as if zeros filled it up to `count` elements."""
    mean = x.sum(-1, keepdim=True) / count
    squares = (x - mean).square().sum(-1, keepdim=True) + (count - x.shape[-1]) * mean.square()
    return (x - mean) * torch.rsqrt(squares / count + eps)


@torch.no_grad()
def cut_units(
    network: nn.Module,
    cuts: Sequence[Cut],
    counted: Mapping[str, int],
    kept: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer | None = None,
) -> None:
    """Remove units from a network, in place. Parameters stay the same objects.

    Parameters
    ----------
    network
        The dense network.
    cuts
        What the units own.
    counted
        Path of each normalisation over units -> its number of units.
    kept
        Group name -> kept units, bool [units]; others keep all.
    optimizer
        Its state of the parameters is cut too; if a state has another shape than its parameter,
        as the factors of Adafactor and the directions of L-BFGS, it starts again.
    """
    modules = dict(network.named_modules())
    axes: dict[tuple[str, Place, int], Tensor] = {}
    for one in cuts:
        if one.group in kept and not bool(kept[one.group].all()):
            key = (one.module, one.place, one.dim)
            whole = axes.get(key, torch.ones(one.size, dtype=torch.bool))
            whole[one.index[~kept[one.group]].flatten()] = False
            axes[key] = whole
    touched: set[str] = set()
    for (path, place, dim), positions in axes.items():
        index = positions.nonzero().flatten()
        parameter = modules[path]._parameters.get(place[0])
        touched.add(path)
        if parameter is not None:
            _cut_parameter(parameter, dim, index, optimizer)
        else:
            change = partial(_selected, dim=dim, index=index, size=len(positions))
            replace_tensor(modules[path], place, change)
    for path in touched:
        _correct(modules[path])
    if axes and isinstance(optimizer, torch.optim.LBFGS):  # its directions have the old length
        optimizer.state.clear()
        optimizer._numel_cache = None
    for path, dense in counted.items() if axes else ():
        _count_removed(modules[path], dense)


def _selected(x: Tensor, dim: int, index: Tensor, size: int) -> Tensor:
    if x.dim() <= dim or x.shape[dim] != size:
        return x
    return x.index_select(dim, index.to(x.device))


def _cut_parameter(
    parameter: nn.Parameter, dim: int, index: Tensor, optimizer: torch.optim.Optimizer | None
) -> None:
    before = parameter.shape
    places = index.to(parameter.device)
    gradient = parameter.grad
    parameter.grad = None
    parameter.data = parameter.data.index_select(dim, places)
    if gradient is not None:
        parameter.grad = gradient.index_select(dim, places)
    if optimizer is not None and parameter in optimizer.state:
        state = optimizer.state[parameter]
        tensors = {key: x for key, x in state.items() if torch.is_tensor(x) and x.numel() > 1}
        if any(value.shape != before for value in tensors.values()):
            del optimizer.state[parameter]
            return
        for key, value in tensors.items():
            state[key] = value.index_select(dim, index.to(value.device))


def _correct(module: nn.Module) -> None:
    """Let the attributes of a module agree with its parameters."""
    if isinstance(module, nn.modules.conv._ConvTransposeNd):
        depthwise = module.groups == module.in_channels
        module.in_channels = len(module.weight)
        module.groups = module.in_channels if depthwise and module.groups > 1 else module.groups
        module.out_channels = module.weight.shape[1] * module.groups
    elif isinstance(module, nn.modules.conv._ConvNd):
        depthwise = module.groups > 1 and module.groups == module.in_channels
        per_group = module.out_channels // module.groups
        module.out_channels = len(module.weight)
        module.groups = module.out_channels // per_group if depthwise else module.groups
        module.in_channels = module.weight.shape[1] * module.groups
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, nn.modules.batchnorm._NormBase):
        known = (module.running_mean, module.weight)
        module.num_features = next(len(x) for x in known if x is not None)
    elif isinstance(module, nn.LayerNorm) and module.weight is not None:
        module.normalized_shape = tuple(module.weight.shape)
    elif isinstance(module, nn.GroupNorm) and module.weight is not None:
        module.num_channels = len(module.weight)
    elif isinstance(module, nn.PReLU):
        module.num_parameters = module.weight.numel()
    elif isinstance(module, nn.Embedding):
        module.embedding_dim = module.weight.shape[1]
    elif isinstance(module, nn.RNNBase):
        weight = module.get_parameter("weight_ih_l0")
        module.input_size = weight.shape[1]


def _count_removed(module: nn.Module, dense: int) -> None:
    """Let a normalisation over units count those that were removed."""
    kinds = {nn.LayerNorm: CountedLayerNorm, nn.GroupNorm: CountedGroupNorm}
    if type(module) in kinds:
        module.__class__ = kinds[type(module)]
        setattr(module, "dense", dense)  # noqa: B010  # nn.Module declares tensors and modules only


@torch.no_grad()
def resize(network: nn.Module, state: Mapping[str, Any]) -> None:
    """Give a dense network the shapes and values of a compacted one.

    Parameters
    ----------
    network
        A network as it was before `Attachment.compact`; changed in place.
    state
        ``state_dict()`` of the compacted network.

    Raises
    ------
    ValueError
        If the state names other tensors than the network.
    """
    mine = network.state_dict()
    extra = {name for name in state if name.endswith("_extra_state")}
    if mine.keys() - extra != state.keys() - extra:
        odd = sorted((mine.keys() ^ state.keys()) - extra)
        raise ValueError(f"the state belongs to another network: {', '.join(odd[:3])}")
    for path, module in network.named_modules():
        prefix = f"{path}." if path else ""
        changed = False
        for tensors in (module._parameters, module._buffers):
            for name, value in tensors.items():
                wanted = state.get(prefix + name)
                if value is not None and wanted is not None and value.shape != wanted.shape:
                    value.data = torch.empty_like(wanted, device=value.device, dtype=value.dtype)
                    changed = True
        if changed:
            _correct(module)
        if f"{prefix}_extra_state" in extra and isinstance(module, nn.LayerNorm | nn.GroupNorm):
            _count_removed(module, int(state[f"{prefix}_extra_state"]))
    network.load_state_dict(dict(state))


__all__ = ["CountedGroupNorm", "CountedLayerNorm", "Cut", "cut_units", "resize"]
