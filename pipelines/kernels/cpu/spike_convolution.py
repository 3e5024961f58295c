"""Convolutions that cost what their input's spikes cost: part of the plan ``fused`` on a CPU.

A convolution multiplies every number of its input; of spikes, most are zero. The C
code beside this file lists the spikes and adds up the weights that they select, forward, and the
gradients that these weights get, backward. Where there is little to leave out, as in the input's
gradient, a kernel of 3 x 3 is left to `pipelines.kernels.cpu.winograd`, and any other to PyTorch.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

import torch
from torch import Tensor, nn

from pipelines.kernels import bfloat16 as half
from pipelines.kernels.cpu import compiler as compiled
from pipelines.kernels.cpu import winograd
from pipelines.kernels.cpu.grey_convolution import is_plain
from pipelines.kernels.seam import Prepared, like, maps

_SOURCE = Path(__file__).with_suffix(".c")

#: Share of spikes up to which a list of them is worth its while, where `winograd` cannot take over
#: what many spikes make slow; and the outputs that this takes: with fewer of them a spike has less
#: to do, and the share is smaller in proportion.
LIMIT, OUTPUTS = 0.55, 16
#: Share of spikes above which `winograd` computes the output sooner, a list at hand or not.
MANY = 0.3
GROUP = 8  # places that the C code writes at once, the last ones past the end


class _Shape(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_int64)
        for name in ("images", "height", "width", "inputs", "outputs", "kernel", "limit")
    )


def _suits(convolution: nn.Conv2d, x: Tensor, weight: Tensor) -> bool:
    """Whether it is one that the C code computes: of stride one, keeping the size of its maps."""
    return (
        is_plain(convolution)
        and x.device.type == "cpu"
        and x.dtype == weight.dtype
        and x.numel() < 2**31
        and compiled.library(_SOURCE, x.dtype) is not None
    )


def _find(convolution: nn.Conv2d, x: Tensor) -> tuple[_Shape, int, Tensor, Tensor] | None:
    """The spikes of an input whose channels come last; None if it has many, or other numbers.

    Returns
    -------
    tuple
        The shape, how many spikes there are, and the lists that the C code reads.
    """
    images, inputs, height, width = x.shape
    outputs, kernel = convolution.out_channels, convolution.kernel_size[0]
    share = 1.0 if winograd.available(convolution.weight) else LIMIT
    limit = int(share * min(1.0, outputs / OUTPUTS) * x.numel()) + width * inputs + GROUP
    shape = _Shape(images, height, width, inputs, outputs, kernel, limit)
    spikes = torch.empty(limit, dtype=torch.int32)
    starts = torch.empty(images, height, width + 1, dtype=torch.int32)
    count = compiled.call(_SOURCE, x.dtype, "find_spikes", x, shape, spikes, starts)
    return None if count < 0 else (shape, count, spikes, starts)


class _Kernel:
    """What the C code computes of listed spikes, as a `pipelines.kernels.seam.Kernel`."""

    def __init__(self, shape: _Shape, count: int) -> None:
        self.shape = shape
        self.count = count

    def forward(
        self, x: Tensor, weight: Tensor, lists: tuple[Tensor, ...], moments: Tensor | None
    ) -> tuple[Tensor, bool]:
        weight, shape = weight.contiguous(memory_format=torch.channels_last), self.shape
        if self.count > MANY * x.numel() and winograd.available(weight):
            return like(x, winograd.convolve(maps(x), weight)), False
        size = (shape.images, shape.outputs, shape.height, shape.width)
        y = torch.empty(size, dtype=x.dtype, memory_format=torch.channels_last)
        compiled.call(_SOURCE, x.dtype, "forward", *lists, weight, shape, y, moments)
        return like(x, y), moments is not None

    def backward(
        self, x: Tensor, weight: Tensor, lists: tuple[Tensor, ...], grad: Tensor, *, of_x: bool
    ) -> tuple[Tensor | None, Tensor]:
        grad = maps(grad)
        wanted = like(x, _gradient_of_input(maps(x), weight, grad)) if of_x else None
        of_weight = torch.empty_like(weight, memory_format=torch.channels_last)
        compiled.call(_SOURCE, x.dtype, "backward", *lists, grad, self.shape, of_weight)
        return wanted, of_weight


def _gradient_of_input(x: Tensor, weight: Tensor, grad: Tensor) -> Tensor:
    """Like `x`, of which only the size and the format count."""
    if winograd.available(weight):
        return winograd.gradient_of_input(grad, weight)
    if x.dtype == torch.bfloat16:
        wide = torch.empty_like(x, dtype=torch.float32)
        return _gradient_of_input(wide, weight.float(), grad.float()).bfloat16()
    border = [weight.shape[-1] // 2] * 2
    wanted = [True, False, False]
    settings = ([1, 1], border, [1, 1], False, [0, 0], 1, wanted)
    of_x: Tensor = torch.ops.aten.convolution_backward(grad, x, weight, None, *settings)[0]
    return of_x


def prepare(convolution: nn.Conv2d, x: Tensor) -> Prepared | None:
    """Prepare the convolution of listed spikes, where that is quicker than what the layer does.

    Parameters
    ----------
    convolution
        Any; one of stride one that keeps the size of its maps can gain.
    x
        Any input [..., C, H, W]; with some of its numbers one and all others zero, it can gain.
    """
    weight = convolution.weight
    if torch.is_autocast_enabled(x.device.type):
        if not half.widened(x.device):
            return None
        weight, x = weight.bfloat16(), x.bfloat16()
    if not _suits(convolution, x, weight):
        return None
    if not (found := _find(convolution, maps(x.detach()))):
        return None
    shape, count, *lists = found
    return Prepared(_Kernel(shape, count), x, weight, tuple(lists))
