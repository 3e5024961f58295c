"""Copies of networks that may have run, and attributes of modules that hold tensors."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import snntorch
import torch
from torch import Tensor, nn

#: Where SpikingJelly's neurons have their states.
_STATES = "_memories"
Module = TypeVar("Module", bound=nn.Module)

#: Attribute of a module, and the keys into nested lists and dicts below it.
Place = tuple[str, tuple[Any, ...]]


def tensors_of(module: nn.Module) -> Iterator[tuple[Place, Tensor]]:
    """Yield the tensors that a module holds besides its parameters, in attributes and buffers."""
    for name, value in [*vars(module).items(), *module._buffers.items()]:
        if name not in ("_parameters", "_buffers", "_modules"):
            yield from _nested((name, ()), value)


def _nested(place: Place, value: object) -> Iterator[tuple[Place, Tensor]]:
    name, keys = place
    if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
        yield place, value
    elif isinstance(value, dict | list | tuple) and (name == _STATES or not name.startswith("_")):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from _nested((name, (*keys, key)), item)


def replace_tensor(module: nn.Module, place: Place, change: Callable[[Tensor], Tensor]) -> None:
    """Replace one tensor of `tensors_of`, if it is still there."""
    name, keys = place
    value = module._buffers[name] if name in module._buffers else vars(module).get(name)
    if not keys:
        if isinstance(value, Tensor):
            setattr(module, name, change(value))
        return
    setattr(module, name, _replaced(value, keys, change))


def _replaced(value: Any, keys: tuple[Any, ...], change: Callable[[Tensor], Tensor]) -> Any:
    if not keys:
        return change(value) if isinstance(value, Tensor) else value
    items = dict(value) if isinstance(value, dict) else list(value)
    try:
        items[keys[0]] = _replaced(items[keys[0]], keys[1:], change)
    except (KeyError, IndexError):
        return value
    return type(value)(items) if type(value) in (tuple, list, dict) else value


def copy_of(network: Module) -> Module:
    """Copy a network, also one whose attributes belong to the autograd graph of an earlier pass."""
    memo: dict[int, Any] = {}
    for module in network.modules():
        for _, tensor in tensors_of(module):
            if not tensor.is_leaf:
                memo[id(tensor)] = tensor.detach().clone()
    return copy.deepcopy(network, memo)


def at_rest(network: nn.Module) -> None:
    """Put the hidden membranes of snnTorch's and SpikingJelly's neurons at rest."""
    for module in network.modules():
        reset: Any = getattr(module, "reset", None)
        if _STATES in vars(module) and reset is not None:
            reset()
        if isinstance(module, snntorch.SpikingNeuron):
            for name in module._non_persistent_buffers_set:
                setattr(module, name, torch.zeros(0))
