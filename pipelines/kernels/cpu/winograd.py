"""Convolutions of 3 x 3 by Winograd's transforms: four multiplications per output, not nine."""

from __future__ import annotations

import ctypes
from pathlib import Path

import torch
from torch import Tensor

from pipelines.kernels.cpu import compiler

_SOURCE = Path(__file__).with_suffix(".c")


class _Shape(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_int64)
        for name in ("images", "height", "width", "inputs", "outputs", "transposed")
    )


def available(weight: Tensor) -> bool:
    """Whether the kernel computes convolutions with these weights."""
    return (
        weight.shape[2:] == (3, 3)
        and weight.device.type == "cpu"
        and compiler.library(_SOURCE, weight.dtype) is not None
    )


def convolve(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve with stride one and a padding that keeps the size of the maps.

    Parameters
    ----------
    x
        [N, C, H, W].
    weight
        [O, C, 3, 3].
    """
    return _call(x, weight, weight.shape[0], transposed=False)


def gradient_of_input(grad: Tensor, weight: Tensor) -> Tensor:
    """Gradient of the input of `convolve`, [N, C, H, W], given that of its output, [N, O, H, W]."""
    return _call(grad, weight, weight.shape[1], transposed=True)


def _call(x: Tensor, weight: Tensor, outputs: int, *, transposed: bool) -> Tensor:
    """Call the C code; it adds numbers of bfloat16 in float32, and rounds once."""
    x, weight = (t.contiguous(memory_format=torch.channels_last) for t in (x, weight))
    images, inputs, height, width = x.shape
    size, layout = (images, outputs, height, width), torch.channels_last
    y = torch.empty(size, dtype=x.dtype, memory_format=layout)
    shape = _Shape(images, height, width, inputs, outputs, transposed)
    compiler.call(_SOURCE, x.dtype, "convolve", x, weight, shape, y)
    return y
