"""Convolutions of 3 x 3 in fewer multiplications, on a CPU: see the C code beside this file."""

from __future__ import annotations

import ctypes
from pathlib import Path

import torch
from torch import Tensor

from pipelines.core import compiled

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


def gradient_of_input(grad: Tensor, weight: Tensor) -> Tensor:
    """Gradient of what a convolution was given, [N, C, H, W]; summed up in float32 at least.

    Parameters
    ----------
    grad
        Of what the convolution gave, [N, O, H, W]; its stride is one, and it keeps the maps' size.
    weight
        [O, C, 3, 3].
    """
    grad, weight = (t.contiguous(memory_format=torch.channels_last) for t in (grad, weight))
    images, outputs, height, width = grad.shape
    inputs = weight.shape[1]
    size, layout = (images, inputs, height, width), torch.channels_last
    of_x = torch.empty(size, dtype=grad.dtype, memory_format=layout)
    shape = _Shape(images, height, width, outputs, inputs, True)
    compiled.call(_SOURCE, grad.dtype, "convolve", grad, weight, shape, of_x)
    return of_x
