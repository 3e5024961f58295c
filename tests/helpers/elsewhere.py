"""A second device without a GPU: ``elsewhere`` computes on the CPU, and says so to nobody.

Its tensors claim to be on another device. Where they meet a tensor of the CPU in one operation, the
operation is refused, as a GPU would refuse it; scalars (no dimension) may be anywhere, and copies
go both ways. `install` is for a process of its own: a torch has room for one such device, for good.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

NAME = "elsewhere"
#: Whether this torch can be taught a device from Python.
POSSIBLE = hasattr(backend_registration, "_setup_privateuseone_for_python_backend")
_COPIES = {"aten::_to_copy", "aten::copy_", "aten::_local_scalar_dense"}

#: Operations that waited for the device, for a number or a shape that depends on one.
waits: Counter[str] = Counter()
_WAITING = {"aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::equal"}


class Elsewhere(torch.Tensor):
    """A tensor of the CPU that claims to be on the other device."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> Elsewhere:
        claimed = torch.Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=torch.device(NAME, 0),
        )
        claimed.held = held
        return claimed

    @classmethod
    def __torch_dispatch__(
        cls,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        return _compute(func, args, kwargs or {})


class _Everywhere(TorchDispatchMode):
    """Lets tensors be made on the other device."""

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        return _compute(func, args, kwargs or {})


def install() -> TorchDispatchMode:
    """Register the device in this process; enter what is returned to use it."""

    class Module(backend_registration._DummyBackendModule):
        def get_amp_supported_dtype(self) -> list[torch.dtype]:
            return [torch.bfloat16]

    backend_registration._setup_privateuseone_for_python_backend(NAME, Module())
    library = torch.library.Library("aten", "IMPL")
    for name, function in {"empty_strided": _empty_strided, "_copy_from": _copy_from}.items():
        library.impl(name, function, "PrivateUse1")
    mode = _Everywhere()
    mode.library = library  # type: ignore[attr-defined] -- what it registers lives as long as it
    return mode


def _empty_strided(size: Any, stride: Any, *, dtype: Any = None, **_: Any) -> Tensor:
    return Elsewhere(torch.empty_strided(size, stride, dtype=dtype))


def _copy_from(source: Tensor, to: Tensor, non_blocking: bool = False) -> Tensor:
    _held(to).copy_(_held(source))
    return to


def _held(value: Any) -> Any:
    return value.held if isinstance(value, Elsewhere) else value


def _compute(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Run an operation on what the tensors hold, unless it mixes devices."""
    tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
    given = {id(_held(x)): x for x in tensors}
    there = any(isinstance(x, Elsewhere) for x in tensors)
    here = any(not isinstance(x, Elsewhere) and x.dim() > 0 for x in tensors)
    if there and here and func._schema.name not in _COPIES:
        raise RuntimeError(f"{func} got tensors of two devices")
    device = kwargs.get("device")
    back = device is not None and torch.device(device).type == "cpu"
    waits[func._schema.name] += there and (back or func._schema.name in _WAITING)
    if device is not None:
        there = torch.device(device).type == NAME
        kwargs = dict(kwargs) | {"device": "cpu"}

    def claim(x: Any) -> Any:
        if not isinstance(x, Tensor):
            return x
        return given[id(x)] if id(x) in given else Elsewhere(x) if there else x

    return tree_map(claim, func(*tree_map(_held, args), **tree_map(_held, kwargs)))
