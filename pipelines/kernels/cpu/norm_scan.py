"""Batch norm, leaky neurons over all time steps, and max pooling as one compiled autograd function.

`norm_and_scan` computes batch norm, `pipelines.kernels.scan.lif_scan` and max pooling, with a third
of their memory accesses. For the backward pass it saves only the output of the convolution.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import snntorch as snn
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from baselines.shared.activity import Unwritten
from pipelines.kernels.batch_norm import Norm, begin, channels_last
from pipelines.kernels.cpu import compiler
from pipelines.kernels.seam import Kernel, Prepared
from pipelines.settings.network import Reset, Surrogate

_SOURCE = Path(__file__).with_suffix(".c")


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


def available(dtype: torch.dtype = torch.float32) -> bool:
    """Whether this machine can compile the kernel for a number format."""
    return compiler.library(_SOURCE, dtype) is not None


class _NormAndScan(torch.autograd.Function):
    """Batch norm, neurons and pooling of input currents `x`, or of the output of a kernel for `x`.

    `of_kernel` are the weights and the lists of the kernel.
    """

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
        current, moments = x, None
        if kernel is not None:
            weights, *lists = of_kernel
            moments = x.new_empty(3, len(weights), dtype=torch.float64) if norm.training else None
            current = kernel.forward(x, weights, tuple(lists), moments)
        shape = shape_of(current.shape)
        of_norm = _Norm(norm.momentum, norm.eps, norm.training)
        constants = torch.empty(_Norm.rows, shape.channels, dtype=torch.float64)
        spikes, counts = _memory(current, shape)
        running = (norm.running_mean, norm.running_var)
        given = (current, moments, weight, bias, *running, of_norm, shape, constants, spikes)
        counted = counts if len(counts) else None
        compiler.call(_SOURCE, current.dtype, "norm_and_scan", *given, counted)
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
        shape, grad = ctx.shape, channels_last(grad)
        grads = torch.empty_like(weight), torch.empty_like(weight), torch.empty_like(beta)
        out = current
        if shape.given < shape.steps:
            out = torch.empty_like(current)
        else:
            torch.autograd.graph.increment_version(current)  # it is overwritten
        given = (current, grad, constants, ctx.norm, shape, out, *grads)
        compiler.call(_SOURCE, current.dtype, "backward", *given)
        if not 0 < shape.decay < 1 and not 0 <= float(beta) <= 1:  # clamped
            grads[2].zero_()
        if ctx.kernel is not None:
            weights, *lists = of_kernel
            of_x = ctx.needs_input_grad[0]
            out, rest[3] = ctx.kernel.backward(x, weights, tuple(lists), out, of_x=of_x)
        return out, *grads, *rest


def _memory(current: Tensor, shape: _Shape) -> tuple[Tensor, Tensor]:
    """Allocate pooled spikes, [T, B, C, ...], and spike counts before pooling, [T, B, C]."""
    batch, channels, *extent = current.shape[1:]
    size = (shape.steps * batch, channels, *(n // shape.window for n in extent))
    layout = torch.channels_last if extent else torch.contiguous_format
    spikes = torch.empty(size, dtype=current.dtype, memory_format=layout)
    kind = torch.promote_types(current.dtype, torch.float32)
    steps = shape.steps if shape.window > 1 else 0  # without pooling, spikes can be counted later
    counts = torch.zeros(steps, batch, channels, dtype=kind)
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
        Input currents before batch norm, [T, B, C, ...], or [1, B, C, ...] for a static input. Or a
        kernel that computes them: it becomes part of the same autograd function, and takes the
        statistics of batch norm while it writes its output.
    norm
        Batch norm, in training or evaluation; its running statistics are updated.
    neuron, steps, surrogate_name
        As for `pipelines.kernels.scan.lif_scan`.
    window
        Side of the pooling windows, which divides the sides of the map; 1: no pooling.

    Returns
    -------
    tuple of Tensor and Unwritten
        Pooled spikes in {0, 1}, [T, B, C, ...], of the dtype of `current`; and the spikes before
        pooling, which are recomputed on demand.

    Raises
    ------
    TypeError
        If batch norm is in another number format than the computation: float32 for bfloat16.
    """
    weights = current if isinstance(current, Prepared) else None
    x = current.x if isinstance(current, Prepared) else channels_last(current)
    kind = begin(norm, x)
    shape = partial(_shape, neuron, steps, surrogate_name)
    spikes, counts, constants, computed = _NormAndScan.apply(  # type: ignore[no-untyped-call]
        x,
        norm.weight,
        norm.bias,
        neuron.beta.to(kind),
        norm,
        partial(shape, window),
        weights.kernel if weights else None,
        *((weights.weight, *weights.lists) if weights else ()),
    )
    currents: Tensor = x.detach() if computed is None else computed
    version = currents._version

    def unpooled() -> Tensor:
        if currents._version != version:
            raise RuntimeError("ask for the maps before the backward pass, which overwrites them")
        whole = shape(1, currents.shape)
        spikes, _ = _memory(currents, whole)
        given = (currents, constants, whole, spikes, None)
        compiler.call(_SOURCE, currents.dtype, "forward", *given)
        return spikes

    return spikes, Unwritten(counts, unpooled)
