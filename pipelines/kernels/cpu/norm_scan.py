"""Batch norm, the LIF scan and max pooling as one compiled function each way: the plan ``fused``.

`norm_and_scan` computes what batch norm followed by `pipelines.kernels.scan.lif_scan` and max
pooling compute, but reads and writes memory a third as often, and remembers the convolution's
output only.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import snntorch as snn
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from baselines.shared.activity import Unwritten
from pipelines.kernels.cpu import compiler as compiled
from pipelines.kernels.seam import Kernel, Prepared
from pipelines.settings.network import Reset, Surrogate

_SOURCE = Path(__file__).with_suffix(".c")


Norm = nn.BatchNorm1d | nn.BatchNorm2d
#: What `norm_and_scan` is, here and on a GPU.
NormAndScan = Callable[[Tensor, Norm, snn.Leaky, int, Surrogate, int], tuple[Tensor, Unwritten]]


class _Norm(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_double) for name in ("momentum", "epsilon")),
        ("training", ctypes.c_int64),
    )
    rows = 4  # of constants for each channel


class _Shape(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("images", "height", "width", "channels")),
        *((name, ctypes.c_int64) for name in ("window", "steps", "given")),
        *((name, ctypes.c_double) for name in ("decay", "threshold")),
        *((name, ctypes.c_int64) for name in ("subtract", "fast_sigmoid")),
    )


def available(tensor: Tensor) -> bool:
    """Whether tensors like this one can be computed here."""
    return tensor.device.type == "cpu" and compiled.library(_SOURCE, tensor.dtype) is not None


def _call(function: str, like: Tensor, *arguments: Any) -> None:
    compiled.call(_SOURCE, like.dtype, function, *arguments)


def rows(tensor: Tensor) -> Tensor:
    """Return [T, B, C, ...] laid out with the channels last; copied if it is not."""
    if tensor.dim() == 3:
        return tensor.contiguous()
    flat: Tensor = tensor.flatten(0, 1).contiguous(memory_format=torch.channels_last)
    return flat.view(*tensor.shape[:2], *flat.shape[1:])


def begin(norm: Norm, current: Tensor) -> torch.dtype:
    """Count a batch, if batch norm is in training; the format of its numbers.

    Raises
    ------
    TypeError
        If that is not the format that is computed with: float32 for bfloat16 inputs.
    """
    kind = torch.promote_types(current.dtype, torch.float32)
    if norm.weight.dtype != kind:
        raise TypeError(f"batch norm of {current.dtype} inputs must be {kind}")
    if norm.training:
        assert norm.num_batches_tracked is not None
        norm.num_batches_tracked.add_(1)
    return kind


class _NormAndScan(torch.autograd.Function):
    """Of currents x; or of those that a kernel makes of x, with its weights and lists."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        beta: Tensor,
        norm: Norm,
        shape_of: Callable[[torch.Size], _Shape],
        kernel: Kernel | None,
        *of_kernel: Tensor,
    ) -> tuple[Tensor | None, ...]:
        ctx.set_materialize_grads(False)
        current, moments = (x, None) if kernel is None else _weigh(x, kernel, of_kernel, norm)
        shape = shape_of(current.shape)
        of_norm = _Norm(norm.momentum, norm.eps, norm.training)
        constants = torch.empty(_Norm.rows, shape.channels, dtype=torch.float64)
        spikes, counts = _memory(current, shape)
        running = (norm.running_mean, norm.running_var)
        given = (moments, weight, bias, *running, of_norm, shape, constants)
        _call("norm_and_scan", current, current, *given, spikes, counts if len(counts) else None)
        ctx.save_for_backward(x, current, weight, beta, constants, *of_kernel)
        ctx.norm, ctx.shape, ctx.kernel = of_norm, shape, kernel
        if kernel is None:
            ctx.mark_non_differentiable(counts, constants)
            return spikes, counts, constants, None
        ctx.mark_non_differentiable(counts, constants, current)
        return spikes, counts, constants, current

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        x, current, weight, beta, constants, *of_kernel = ctx.saved_tensors
        rest: list[Tensor | None] = [None] * (3 + len(of_kernel))
        if grad is None:
            return None, None, None, None, *rest
        shape, grad = ctx.shape, rows(grad)
        grads = torch.empty_like(weight), torch.empty_like(weight), torch.empty_like(beta)
        out = current
        if shape.given < shape.steps:
            out = torch.empty_like(current)
        else:
            torch.autograd.graph.increment_version(current)  # nobody may take it for the input
        _call("backward", current, current, grad, constants, ctx.norm, shape, out, *grads)
        if not 0 < shape.decay < 1 and not 0 <= float(beta) <= 1:  # clamped
            grads[2].zero_()
        if ctx.kernel is not None:
            given = (x, of_kernel[0], tuple(of_kernel[1:]), out)
            out, rest[3] = ctx.kernel.backward(*given, of_x=ctx.needs_input_grad[0])
        return out, *grads, *rest


def _weigh(
    x: Tensor, kernel: Kernel, of_kernel: tuple[Tensor, ...], norm: Norm
) -> tuple[Tensor, Tensor | None]:
    """Currents [T, B, ...], and their moments if batch norm needs them and they are known."""
    weight, *lists = of_kernel
    moments = torch.empty(3, len(weight), dtype=torch.float64) if norm.training else None
    current, known = kernel.forward(x, weight, tuple(lists), moments)
    return current, moments if known else None


def _memory(current: Tensor, shape: _Shape) -> tuple[Tensor, Tensor]:
    """For pooled spikes, [T, B, C, ...], and their numbers before pooling, [T, B, C]."""
    batch, channels, *extent = current.shape[1:]
    size = (shape.steps * batch, channels, *(n // shape.window for n in extent))
    layout = torch.channels_last if extent else torch.contiguous_format
    spikes = torch.empty(size, dtype=current.dtype, memory_format=layout)
    kind = torch.promote_types(current.dtype, torch.float32)
    pooling = shape.window > 1  # without it, spikes are there to be counted
    counts = torch.zeros(shape.steps if pooling else 0, batch, channels, dtype=kind)
    return spikes.view(shape.steps, batch, *size[1:]), counts


def _shape(
    neuron: snn.Leaky, steps: int, surrogate_name: Surrogate, window: int, of_current: torch.Size
) -> _Shape:
    given, batch, channels, *extent = of_current
    images, height, width = (batch, *extent) if extent else (1, 1, batch)
    if window == 1:  # longer rows are quicker
        height, width = 1, height * width
    reset: Reset = neuron.reset_mechanism
    return _Shape(
        images=images,
        height=height,
        width=width,
        channels=channels,
        window=window,
        steps=steps,
        given=given,
        decay=min(max(float(neuron.beta.detach()), 0.0), 1.0),
        threshold=neuron.fires_above,
        subtract=reset == "subtract",
        fast_sigmoid=surrogate_name == "fast_sigmoid",
    )


def norm_and_scan(
    current: Tensor | Prepared,
    norm: Norm,
    neuron: snn.Leaky,
    steps: int,
    surrogate_name: Surrogate,
    window: int = 1,
) -> tuple[Tensor, Unwritten]:
    """Batch norm over time and batch, leaky neurons over all steps, then max pooling.

    Parameters
    ----------
    current
        What the weights give, [T, B, C, ...], or [1, B, C, ...] for a static input. Weights that
        are about to be applied become one step for autograd with the rest, and statistics are
        taken while their result is written.
    norm
        Batch norm, in training or evaluation; its running statistics are updated.
    neuron, steps, surrogate_name
        As for `pipelines.kernels.scan.lif_scan`.
    window
        Side of the pooling windows, which fill the map.

    Returns
    -------
    tuple of Tensor and Unwritten
        Pooled spikes in {0, 1}, [T, B, C, ...], of the dtype of `current`; and the spikes before
        pooling, which are worked out when somebody asks for them.

    Raises
    ------
    TypeError
        If batch norm is not in the format that is computed with: float32 for bfloat16 inputs.
    """
    weights = current if isinstance(current, Prepared) else None
    x = current.x if isinstance(current, Prepared) else rows(current)
    kind = begin(norm, x)
    shape = partial(_shape, neuron, steps, surrogate_name)
    spikes, counts, constants, made = _NormAndScan.apply(  # type: ignore[no-untyped-call]
        x,
        norm.weight,
        norm.bias,
        neuron.beta.to(kind),
        norm,
        partial(shape, window),
        weights.kernel if weights else None,
        *((weights.weight, *weights.lists) if weights else ()),
    )
    numbers: Tensor = x.detach() if made is None else made
    version = numbers._version

    def unpooled() -> Tensor:
        if numbers._version != version:
            raise RuntimeError("ask for the maps before the backward pass, which overwrites them")
        whole = shape(1, numbers.shape)
        spikes, _ = _memory(numbers, whole)
        _call("forward", numbers, numbers, constants, whole, spikes, None)
        return spikes

    return spikes, Unwritten(counts, unpooled)
