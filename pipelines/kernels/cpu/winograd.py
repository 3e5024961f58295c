"""Convolutions of 3 x 3 in fewer multiplications, on a CPU: see the C code beside this file."""

from __future__ import annotations

import ctypes
from pathlib import Path

import torch
from torch import Tensor

from pipelines.kernels.cpu import compiler as compiled

_SOURCE = Path(__file__).with_suffix(".c")


class _Shape(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_int64)
        for name in ("images", "height", "width", "inputs", "outputs", "transposed")
    )


def available(weight: Tensor) -> bool:
    """Whether a convolution with these weights can be computed here."""
    return (
        weight.shape[2:] == (3, 3)
        and weight.device.type == "cpu"
        and compiled.library(_SOURCE, weight.dtype) is not None
    )


def convolve(x: Tensor, weight: Tensor) -> Tensor:
    """What a convolution of stride one that keeps the size of its maps gives.

    Parameters
    ----------
    x
        [N, C, H, W].
    weight
        [O, C, 3, 3].
    """
    return _call(x, weight, weight.shape[0], transposed=False)


def gradient_of_input(grad: Tensor, weight: Tensor) -> Tensor:
    """Gradient of the `x` of `convolve`, [N, C, H, W], from that of its result, [N, O, H, W]."""
    return _call(grad, weight, weight.shape[1], transposed=True)


def _call(x: Tensor, weight: Tensor, outputs: int, *, transposed: bool) -> Tensor:
    """Numbers of bfloat16 are added up in float32, and rounded once."""
    x, weight = (t.contiguous(memory_format=torch.channels_last) for t in (x, weight))
    images, inputs, height, width = x.shape
    size, layout = (images, outputs, height, width), torch.channels_last
    y = torch.empty(size, dtype=x.dtype, memory_format=layout)
    shape = _Shape(images, height, width, inputs, outputs, transposed)
    compiled.call(_SOURCE, x.dtype, "convolve", x, weight, shape, y)
    return y
