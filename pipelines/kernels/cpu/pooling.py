"""Pooling of maps over all time steps; on a CPU, the plan ``fused`` has C code for maxima."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from pipelines.kernels.cpu import compiler as compiled

_SOURCE = Path(__file__).with_suffix(".c")


class _Window(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_int64) for name in ("images", "height", "width", "channels", "size")
    )


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, size: int) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        images, channels, height, width = x.shape
        out = torch.empty(
            (images, channels, height // size, width // size),
            dtype=x.dtype,
            memory_format=torch.channels_last,
        )
        window = _Window(images, height, width, channels, size)
        compiled.call(_SOURCE, x.dtype, "pool", x, window, out)
        ctx.save_for_backward(x, out)
        ctx.window = window
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        x, out = ctx.saved_tensors
        whole = x.shape[2] % ctx.window.size == x.shape[3] % ctx.window.size == 0
        to = torch.empty_like(x) if whole else torch.zeros_like(x)
        grad = grad.contiguous(memory_format=torch.channels_last)
        compiled.call(_SOURCE, x.dtype, "unpool", x, out, grad, ctx.window, to)
        return to, None


def max_pool(x: Tensor, size: int) -> Tensor:
    """Maximum of each window of `size` x `size` of [N, C, H, W], as `torch.nn.MaxPool2d(size)`."""
    pooled: Tensor = _MaxPool.apply(x, size)  # type: ignore[no-untyped-call]
    return pooled


def side_by_side(pool: nn.Module) -> int:
    """Side of max pooling windows that neither overlap nor cross the border; else 0."""
    if not isinstance(pool, nn.MaxPool2d) or pool.padding or pool.stride != pool.kernel_size:
        return 0
    return cast(int, pool.kernel_size)


def pooled(pool: nn.Module, y: Tensor, *, fused: bool) -> Tensor:
    """What a layer's pooling gives for [T, B, C, H, W].

    Parameters
    ----------
    fused
        Whether compiled code may do it, where there is some.
    """
    if isinstance(pool, nn.Identity):
        return y
    flat, size = y.flatten(0, 1), side_by_side(pool)
    quick = fused and size and y.device.type == "cpu" and compiled.library(_SOURCE, y.dtype)
    found = max_pool(flat, size) if quick else cast(Tensor, pool(flat))
    return found.view(*y.shape[:2], *found.shape[1:])
