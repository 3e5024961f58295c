"""Convolutions of spikes: the time grows with the number of spikes, not with the size of the maps.

The C code beside this file lists the spikes. Forward it adds the weights that they select; backward
it adds the output gradients to these weights. The gradient of the input has no zeros to skip:
PyTorch computes it.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

import torch
from torch import Tensor, nn

from pipelines.kernels import bfloat16
from pipelines.kernels.cpu import compiler
from pipelines.kernels.cpu.grey_convolution import is_plain
from pipelines.kernels.seam import Prepared, like, maps

_SOURCE = Path(__file__).with_suffix(".c")

#: Largest share of spikes at which a list is faster. It holds from so many output channels on; with
#: fewer of them it is smaller in proportion.
LIMIT, OUTPUTS = 0.55, 16
GROUP = 8  # the C code writes so many places at once, the last ones past the end


class _Shape(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_int64)
        for name in ("images", "height", "width", "inputs", "outputs", "kernel", "limit")
    )


def _suits(convolution: nn.Conv2d, x: Tensor, weight: Tensor) -> bool:
    """Whether the C code computes it: stride one, maps that keep their size, on a CPU."""
    return (
        is_plain(convolution)
        and x.device.type == "cpu"
        and x.dtype == weight.dtype
        and x.numel() < 2**31
        and compiler.library(_SOURCE, x.dtype) is not None
    )


def _find(convolution: nn.Conv2d, x: Tensor) -> tuple[_Shape, Tensor, Tensor] | None:
    """List the spikes of an input with the channels last; None if many, or not only spikes.

    Returns
    -------
    tuple
        The shape, and the lists that the C code reads.
    """
    images, inputs, height, width = x.shape
    outputs, kernel = convolution.out_channels, convolution.kernel_size[0]
    limit = int(LIMIT * min(1.0, outputs / OUTPUTS) * x.numel()) + width * inputs + GROUP
    shape = _Shape(images, height, width, inputs, outputs, kernel, limit)
    spikes = torch.empty(limit, dtype=torch.int32)
    starts = torch.empty(images, height, width + 1, dtype=torch.int32)
    count = compiler.call(_SOURCE, x.dtype, "find_spikes", x, shape, spikes, starts)
    return None if count < 0 else (shape, spikes, starts)


class _Kernel:
    """The C code for listed spikes as a `pipelines.kernels.seam.Kernel`."""

    def __init__(self, shape: _Shape) -> None:
        self.shape = shape

    def forward(
        self, x: Tensor, weight: Tensor, lists: tuple[Tensor, ...], moments: Tensor | None
    ) -> Tensor:
        weight, shape = weight.contiguous(memory_format=torch.channels_last), self.shape
        size = (shape.images, shape.outputs, shape.height, shape.width)
        y = torch.empty(size, dtype=x.dtype, memory_format=torch.channels_last)
        compiler.call(_SOURCE, x.dtype, "forward", *lists, weight, shape, y, moments)
        return like(x, y)

    def backward(
        self, x: Tensor, weight: Tensor, lists: tuple[Tensor, ...], grad: Tensor, *, of_x: bool
    ) -> tuple[Tensor | None, Tensor]:
        grad = maps(grad)
        wanted = like(x, _gradient_of_input(maps(x), weight, grad)) if of_x else None
        of_weight = torch.empty_like(weight, memory_format=torch.channels_last)
        compiler.call(_SOURCE, x.dtype, "backward", *lists, grad, self.shape, of_weight)
        return wanted, of_weight


def _gradient_of_input(x: Tensor, weight: Tensor, grad: Tensor) -> Tensor:
    """PyTorch's gradient of `x`, whose values do not matter."""
    if x.dtype == torch.bfloat16:
        wide = torch.empty_like(x, dtype=torch.float32)
        return _gradient_of_input(wide, weight.float(), grad.float()).bfloat16()
    border = [weight.shape[-1] // 2] * 2
    wanted = [True, False, False]
    settings = ([1, 1], border, [1, 1], False, [0, 0], 1, wanted)
    of_x: Tensor = torch.ops.aten.convolution_backward(grad, x, weight, None, *settings)[0]
    return of_x


def prepare(convolution: nn.Conv2d, x: Tensor) -> Prepared | None:
    """Prepare the convolution of listed spikes; return None where the layer itself is faster.

    Parameters
    ----------
    convolution
        Any; the kernel fits stride one and maps that keep their size.
    x
        Any input [..., C, H, W]; the kernel fits zeros and ones.
    """
    weight = convolution.weight
    if torch.is_autocast_enabled(x.device.type):
        if not bfloat16.widened(x.device):
            return None
        weight, x = weight.bfloat16(), x.bfloat16()
    if not _suits(convolution, x, weight):
        return None
    if not (found := _find(convolution, maps(x.detach()))):
        return None
    shape, *lists = found
    return Prepared(_Kernel(shape), x, weight, tuple(lists))
