"""A fake second device, named ``fake``, which computes on the CPU: a stand-in for a GPU in tests.

Its tensors claim to be on another device. As on a GPU, an operation that gets tensors of both
devices is refused; scalars (tensors without a dimension) may be on either device, and tensors can
be copied both ways. Call `install` in a process of its own: torch can register one such device
only, and cannot remove it again.
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

#: Name of the device in torch.
NAME = "fake"
#: Whether this version of torch can register a device from Python.
POSSIBLE = hasattr(backend_registration, "_setup_privateuseone_for_python_backend")
_COPIES = {"aten::_to_copy", "aten::copy_", "aten::_local_scalar_dense"}

#: Operation -> how often it would wait for a GPU, because the CPU needs a value of a tensor.
waits: Counter[str] = Counter()
_WAITING = {"aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::equal"}


class FakeTensor(torch.Tensor):
    """A CPU tensor, `held`, that claims to be on the fake device."""

    held: Tensor

    def untyped_storage(self) -> torch.UntypedStorage:
        """Return the storage of the held tensor, which views share."""
        return self.held.untyped_storage()

    @staticmethod
    def __new__(cls, held: Tensor) -> FakeTensor:
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


class _FakeMode(TorchDispatchMode):
    """Intercepts operations without tensors, so that tensors can be created on the fake device."""

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        return _compute(func, args, kwargs or {})


def install() -> TorchDispatchMode:
    """Register the device in this process; enter the returned mode to use the device."""

    class Module(backend_registration._DummyBackendModule):
        def get_amp_supported_dtype(self) -> list[torch.dtype]:
            return [torch.bfloat16]

    backend_registration._setup_privateuseone_for_python_backend(NAME, Module())
    library = torch.library.Library("aten", "IMPL")
    for name, function in {"empty_strided": _empty_strided, "_copy_from": _copy_from}.items():
        library.impl(name, function, "PrivateUse1")
    mode = _FakeMode()
    mode.library = library  # type: ignore[attr-defined] -- it must live as long as the mode
    return mode


def _empty_strided(size: Any, stride: Any, *, dtype: Any = None, **_: Any) -> Tensor:
    return FakeTensor(torch.empty_strided(size, stride, dtype=dtype))


def _copy_from(source: Tensor, to: Tensor, non_blocking: bool = False) -> Tensor:
    _held(to).copy_(_held(source))
    return to


def _held(value: Any) -> Any:
    """The CPU tensor behind a fake tensor; any other value as it is."""
    return value.held if isinstance(value, FakeTensor) else value


def _compute(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Run an operation on the CPU tensors that the fake ones hold.

    Raises
    ------
    RuntimeError
        If it gets tensors of both devices.
    """
    tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
    by_held = {id(_held(x)): x for x in tensors}
    on_fake = any(isinstance(x, FakeTensor) for x in tensors)
    on_cpu = any(not isinstance(x, FakeTensor) and x.dim() > 0 for x in tensors)
    if on_fake and on_cpu and func._schema.name not in _COPIES:
        raise RuntimeError(f"{func} got tensors of two devices")
    device = kwargs.get("device")
    copied_to_cpu = device is not None and torch.device(device).type == "cpu"
    waits[func._schema.name] += on_fake and (copied_to_cpu or func._schema.name in _WAITING)
    result_on_fake = on_fake
    if device is not None:
        result_on_fake = torch.device(device).type == NAME
        kwargs = dict(kwargs) | {"device": "cpu"}

    def claim(x: Any) -> Any:
        """Wrap a result; an operation in place returns the tensor that it was given."""
        if not isinstance(x, Tensor):
            return x
        if id(x) in by_held:
            return by_held[id(x)]
        return FakeTensor(x) if result_on_fake else x

    return tree_map(claim, func(*tree_map(_held, args), **tree_map(_held, kwargs)))
