"""The precision ``bfloat16``, also on a CPU that has none.

A processor that multiplies in bfloat16 adds up in float32. One that does not is given the same
numbers, rounded to bfloat16, in float32: the sums are the same but for their order. PyTorch's own
convolutions of bfloat16 take many times as long there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_LAYERS = (functional.conv2d, functional.linear)


@cache
def native() -> bool:
    """Whether this CPU has convolutions in bfloat16."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def widened(device: torch.device) -> bool:
    """Whether numbers of bfloat16 are computed with in float32 now, on a device."""
    return device.type == "cpu" and torch.is_autocast_enabled("cpu") and not native()


@contextmanager
def bfloat16(device: torch.device, *, enabled: bool = True) -> Iterator[None]:
    """Convolutions and linear layers take and give bfloat16 meanwhile, if `enabled`.

    Parameters
    ----------
    device
        Of the network.
    """
    if not enabled and not torch.is_autocast_enabled(device.type):
        yield  # as it is
        return
    with ExitStack() as stack:
        stack.enter_context(torch.autocast(device.type, torch.bfloat16, enabled=enabled))
        if widened(device):
            stack.enter_context(_Widened())
        yield


class _Widened(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        del types
        kwargs = kwargs or {}
        if func not in _LAYERS or not torch.is_autocast_enabled("cpu"):
            return func(*args, **kwargs)
        return widen(func, *args, **kwargs)


def widen(function: Callable[..., Tensor], *arguments: Any, **named: Any) -> Tensor:
    """Call a layer's function with numbers of bfloat16 in float32; the result is bfloat16."""
    given = [_rounded(a) for a in arguments]
    with torch.autocast("cpu", enabled=False):
        return function(*given, **{k: _rounded(v) for k, v in named.items()}).bfloat16()


def _rounded(argument: Any) -> Any:
    """A tensor of float32 whose numbers, and whose gradients, are those of bfloat16."""
    return argument.bfloat16().float() if isinstance(argument, Tensor) else argument
