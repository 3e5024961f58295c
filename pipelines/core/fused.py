"""Batch norm, the LIF scan and max pooling as one compiled function each way: the plan ``fused``.

`norm_and_scan` computes what batch norm followed by `pipelines.core.neurons.lif_scan` and max
pooling compute, but reads and writes memory a third as often, and remembers the convolution's
output only.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import snntorch as snn
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from baselines.activity import Unwritten
from pipelines.core import compiled
from pipelines.core.layouts import Reset, Surrogate

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


class _Window(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_int64) for name in ("images", "height", "width", "channels", "size")
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
    @staticmethod
    def forward(
        ctx: Any,
        current: Tensor,
        weight: Tensor,
        bias: Tensor,
        beta: Tensor,
        norm: Norm,
        shape: _Shape,
    ) -> tuple[Tensor, Tensor, Tensor]:
        of_norm = _Norm(norm.momentum, norm.eps, norm.training)
        constants = torch.empty(_Norm.rows, shape.channels, dtype=torch.float64)
        running = (norm.running_mean, norm.running_var)
        _call("prepare", current, current, weight, bias, *running, of_norm, shape, constants)
        spikes, counts = _spikes(current, constants, shape)
        ctx.save_for_backward(current, weight, beta, constants)
        ctx.norm, ctx.shape = of_norm, shape
        ctx.mark_non_differentiable(counts, constants)
        return spikes, counts, constants

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: None) -> tuple[Tensor | None, ...]:
        current, weight, beta, constants = ctx.saved_tensors
        shape, grad = ctx.shape, rows(grad)
        grads = torch.empty_like(weight), torch.empty_like(weight), torch.empty_like(beta)
        out = current
        if shape.given < shape.steps:
            out = torch.empty_like(current)
        else:
            torch.autograd.graph.increment_version(current)  # nobody may take it for the input
        _call("backward", current, current, grad, constants, ctx.norm, shape, out, *grads)
        if not 0 <= float(beta) <= 1:  # clamped
            grads[2].zero_()
        return out, *grads, None, None


def _spikes(current: Tensor, constants: Tensor, shape: _Shape) -> tuple[Tensor, Tensor]:
    """Pooled spikes, [T, B, C, ...], and their numbers before pooling, [T, B, C]."""
    batch, channels, *extent = current.shape[1:]
    size = (shape.steps * batch, channels, *(n // shape.window for n in extent))
    layout = torch.channels_last if extent else torch.contiguous_format
    spikes = torch.empty(size, dtype=current.dtype, memory_format=layout)
    pooling = shape.window > 1  # without it, spikes are there to be counted
    kind = torch.promote_types(current.dtype, torch.float32)
    counts = torch.zeros(shape.steps if pooling else 0, batch, channels, dtype=kind)
    _call("forward", current, current, constants, shape, spikes, counts if pooling else None)
    return spikes.view(shape.steps, batch, *size[1:]), counts


def _shape(
    current: Tensor, neuron: snn.Leaky, steps: int, surrogate_name: Surrogate, window: int
) -> _Shape:
    given, batch, channels, *extent = current.shape
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
        threshold=float(neuron.threshold),
        subtract=reset == "subtract",
        fast_sigmoid=surrogate_name == "fast_sigmoid",
    )


def norm_and_scan(
    current: Tensor,
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
        What the weights give, [T, B, C, ...], or [1, B, C, ...] for a static input.
    norm
        Batch norm, in training or evaluation; its running statistics are updated.
    neuron, steps, surrogate_name
        As for `pipelines.core.neurons.lif_scan`.
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
    current = rows(current)
    kind = begin(norm, current)
    spikes, counts, constants = _NormAndScan.apply(  # type: ignore[no-untyped-call]
        current,
        norm.weight,
        norm.bias,
        neuron.beta.to(kind),
        norm,
        _shape(current, neuron, steps, surrogate_name, window),
    )
    version = current._version

    def maps() -> Tensor:
        if current._version != version:
            raise RuntimeError("ask for the maps before the backward pass, which overwrites them")
        whole = _shape(current, neuron, steps, surrogate_name, window=1)
        return _spikes(current.detach(), constants, whole)[0]

    return spikes, Unwritten(counts, maps)


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
        _call("pool", x, x, window, out)
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
        _call("unpool", x, x, out, grad, ctx.window, to)
        return to, None


def max_pool(x: Tensor, size: int) -> Tensor:
    """Maximum of each window of `size` x `size` of [N, C, H, W], as `torch.nn.MaxPool2d(size)`."""
    pooled: Tensor = _MaxPool.apply(x, size)  # type: ignore[no-untyped-call]
    return pooled
