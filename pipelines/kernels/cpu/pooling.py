"""Max pooling of windows side by side, where it is not part of the kernel `norm_scan`."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pipelines.kernels.cpu import compiler

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
        compiler.call(_SOURCE, x.dtype, "pool", x, window, out)
        ctx.save_for_backward(x, out)
        ctx.window = window
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        x, out = ctx.saved_tensors
        whole = x.shape[2] % ctx.window.size == x.shape[3] % ctx.window.size == 0
        of_x = torch.empty_like(x) if whole else torch.zeros_like(x)
        grad = grad.contiguous(memory_format=torch.channels_last)
        compiler.call(_SOURCE, x.dtype, "unpool", x, out, grad, ctx.window, of_x)
        return of_x, None


def available(dtype: torch.dtype) -> bool:
    """Whether this machine can compile the kernel for a number format."""
    return compiler.library(_SOURCE, dtype) is not None


def max_pool(x: Tensor, size: int) -> Tensor:
    """Maximum of each window of `size` x `size` of [N, C, H, W], as `torch.nn.MaxPool2d(size)`."""
    pooled: Tensor = _MaxPool.apply(x, size)  # type: ignore[no-untyped-call]
    return pooled
