"""Convolutions of images with one channel, for which PyTorch's weight gradient is slow.

`convolve` computes this gradient by one matrix product per image, on any device. `prepare` is a
kernel in C for both passes, on a CPU.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipelines.kernels import bfloat16
from pipelines.kernels.cpu import compiler
from pipelines.kernels.seam import Prepared, like, maps

_SOURCE = Path(__file__).with_suffix(".c")


def is_plain(convolution: nn.Conv2d) -> bool:
    """Whether it has stride one, keeps the size of its maps, and has no bias and no hooks."""
    kernel = convolution.kernel_size[0]
    settings = (convolution.kernel_size, convolution.stride, convolution.padding)
    return (
        settings == ((kernel, kernel), (1, 1), (kernel // 2, kernel // 2))
        and kernel % 2 == 1
        and convolution.dilation == (1, 1)
        and convolution.groups == 1
        and convolution.bias is None
        and convolution.padding_mode == "zeros"
        and not (convolution._forward_hooks or convolution._forward_pre_hooks)
    )


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        ctx.outputs, _, ctx.kernel, _ = weight.shape
        return functional.conv2d(x, weight, padding=ctx.kernel // 2)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor]:
        (x,), kernel, outputs = ctx.saved_tensors, ctx.kernel, ctx.outputs
        padded = functional.pad(x, 4 * (kernel // 2,))  # `functional.unfold` takes longer
        windows = padded.unfold(2, kernel, 1).unfold(3, kernel, 1).permute(0, 1, 4, 5, 2, 3)
        windows = windows.reshape(len(x), kernel * kernel, -1)  # [N, kernel^2, H W]
        rows = grad.permute(0, 2, 3, 1).reshape(len(x), -1, outputs)  # a view, channels last
        of_weight = torch.bmm(windows, rows).sum(0).t().reshape(outputs, 1, kernel, kernel)
        return None, of_weight.contiguous(memory_format=torch.channels_last)


class _Shape(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_int64) for name in ("images", "height", "width", "channels", "kernel")
    )


class _Kernel:
    """The C code as a `pipelines.kernels.seam.Kernel`."""

    def forward(
        self, x: Tensor, weight: Tensor, lists: tuple[Tensor, ...], moments: Tensor | None
    ) -> Tensor:
        images, shape = _images(x), _shape(x, weight)
        size = (len(images), len(weight), *x.shape[-2:])
        y = torch.empty(size, dtype=x.dtype, memory_format=torch.channels_last)
        weights = weight.permute(2, 3, 1, 0).contiguous()
        compiler.call(_SOURCE, x.dtype, "forward", images, weights, shape, y, moments)
        return like(x, y)

    def backward(
        self, x: Tensor, weight: Tensor, lists: tuple[Tensor, ...], grad: Tensor, *, of_x: bool
    ) -> tuple[None, Tensor]:
        shape = _shape(x, weight)
        of_weight = x.new_empty(shape.kernel, shape.kernel, 1, shape.channels)
        compiler.call(_SOURCE, x.dtype, "backward", _images(x), maps(grad), shape, of_weight)
        return None, of_weight.permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)


def _images(x: Tensor) -> Tensor:
    return x.reshape(-1, *x.shape[-2:]).contiguous()


def _shape(x: Tensor, weight: Tensor) -> _Shape:
    height, width = x.shape[-2:]
    return _Shape(x.numel() // (height * width), height, width, len(weight), weight.shape[-1])


def suits(convolution: nn.Conv2d, x: Tensor) -> bool:
    """Whether `convolve` computes it: inputs of one channel that need no gradient."""
    return (
        convolution.in_channels == 1
        and is_plain(convolution)
        and x.dtype == convolution.weight.dtype
        and not x.requires_grad
        and (bfloat16.widened(x.device) or not torch.is_autocast_enabled(x.device.type))
    )


def prepare(convolution: nn.Conv2d, x: Tensor) -> Prepared | None:
    """Prepare the convolution of [..., 1, H, W] in C, or return None where it does not fit."""
    weight = convolution.weight
    if x.device.type != "cpu" or not suits(convolution, x):
        return None
    if bfloat16.widened(x.device):
        x, weight = x.bfloat16(), weight.bfloat16()
    if compiler.library(_SOURCE, x.dtype) is None:
        return None
    return Prepared(_Kernel(), x, weight)


def convolve(convolution: nn.Conv2d, x: Tensor) -> Tensor:
    """Apply the layer to inputs [N, 1, H, W], with a faster gradient of its weights.

    Parameters
    ----------
    convolution, x
        As for `suits`.
    """
    apply = cast(Callable[..., Tensor], _Convolution.apply)
    if bfloat16.widened(x.device):
        return bfloat16.widen(apply, x, convolution.weight)
    return apply(x, convolution.weight)
