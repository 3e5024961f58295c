"""The precision ``bfloat16``, also on CPUs without bfloat16 instructions.

A processor with these instructions multiplies numbers of bfloat16 and adds in float32. On any
other CPU the same numbers, rounded to bfloat16, are multiplied and added in float32; only the order
of the sums may differ. PyTorch's own bfloat16 convolutions are many times slower there.
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
    """Whether bfloat16 is emulated in float32 on a device: on such a CPU, inside `autocast`."""
    return device.type == "cpu" and torch.is_autocast_enabled("cpu") and not native()


@contextmanager
def autocast(device: torch.device, *, enabled: bool = True) -> Iterator[None]:
    """Compute convolutions and linear layers in bfloat16 within this context, if `enabled`.

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
    """Call a layer's function with inputs rounded to bfloat16, in float32; it returns bfloat16."""
    given = [_rounded(a) for a in arguments]
    with torch.autocast("cpu", enabled=False):
        return function(*given, **{k: _rounded(v) for k, v in named.items()}).bfloat16()


def _rounded(argument: Any) -> Any:
    """Round a tensor and its gradient to bfloat16; the result is stored in float32."""
    return argument.bfloat16().float() if isinstance(argument, Tensor) else argument
