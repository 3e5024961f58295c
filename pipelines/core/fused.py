"""Batch norm and the LIF scan as one compiled function each way: the plan ``fused``.

`norm_and_scan` computes what batch norm followed by `pipelines.core.neurons.lif_scan` computes,
but reads and writes memory half as often, and remembers the convolution's output only. The C code
beside this file is compiled when it is first needed, and kept in the user's cache.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import snntorch as snn
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from pipelines.core.layouts import Reset, Surrogate

_SOURCE = Path(__file__).with_suffix(".c")
_FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-shared", "-fPIC")
_FORMATS = {torch.float32: "FLOAT32", torch.float64: "FLOAT64", torch.bfloat16: "BFLOAT16"}


Norm = nn.BatchNorm1d | nn.BatchNorm2d


class _Shape(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("rows", "channels", "steps", "given")),
        *((name, ctypes.c_double) for name in ("decay", "threshold")),
        *((name, ctypes.c_int64) for name in ("subtract", "fast_sigmoid")),
    )


class _Window(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_int64) for name in ("images", "height", "width", "channels", "size")
    )


@cache
def _library(kind: str) -> ctypes.CDLL | None:
    """The compiled code for a number format; None where there is no working compiler."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    key = f"{compiler} {_FLAGS} {kind} {platform.machine()} {_processor()}".encode()
    name = hashlib.sha256(_SOURCE.read_bytes() + key).hexdigest()[:16]
    cache_home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = cache_home / "dpap-bench" / f"fused-{name}.so"
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=path.parent) as folder:
                made = Path(folder) / path.name
                command = [compiler, *_FLAGS, f"-D{kind}", "-o", str(made), str(_SOURCE)]
                subprocess.run(command, check=True, capture_output=True, timeout=120)  # noqa: S603
                made.replace(path)
        return ctypes.CDLL(str(path))
    except (OSError, subprocess.SubprocessError):
        return None


def _processor() -> str:
    """What ``-march=native`` depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith("flags")), platform.processor())


def available(tensor: Tensor) -> bool:
    """Whether tensors like this one can be computed here."""
    kind = _FORMATS.get(tensor.dtype)
    return tensor.device.type == "cpu" and kind is not None and _library(kind) is not None


def _call(function: str, like: Tensor, *arguments: Any) -> None:
    library = _library(_FORMATS[like.dtype])
    assert library is not None
    pointers = [
        ctypes.c_void_p(a.data_ptr()) if isinstance(a, Tensor) else ctypes.byref(a)
        for a in arguments
    ]
    getattr(library, function)(*pointers)


def _rows(tensor: Tensor) -> Tensor:
    """Return [T, B, C, ...] laid out with the channels last; copied if it is not."""
    if tensor.dim() == 3:
        return tensor.contiguous()
    flat: Tensor = tensor.flatten(0, 1).contiguous(memory_format=torch.channels_last)
    return flat.view(*tensor.shape[:2], *flat.shape[1:])


class _NormAndScan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        current: Tensor,
        weight: Tensor,
        bias: Tensor,
        decay: Tensor,
        center: Tensor,
        rstd: Tensor,
        batch_statistics: bool,
        shape: _Shape,
    ) -> Tensor:
        scale = weight.double() * rstd
        shift = bias.double() - center * scale
        one = current[0]  # keeps the memory layout
        strides = (one.numel(), *one.stride())
        spikes = current.new_empty_strided((shape.steps, *one.shape), strides)
        _call("forward", current, current, scale, shift, shape, spikes)
        ctx.save_for_backward(current, weight, decay, scale, shift, center, rstd)
        ctx.batch_statistics, ctx.shape = batch_statistics, shape
        return spikes

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        current, weight, decay, scale, shift, center, rstd = ctx.saved_tensors
        shape, channels = ctx.shape, len(scale)
        out = torch.empty_like(current)
        sums = scale.new_zeros(2 * channels + 1)
        _call(
            "backward", current, current, _rows(grad), scale, shift, center, rstd, shape, out, sums
        )
        first, second = sums[:channels], sums[channels:-1]
        of_x = constant = torch.zeros_like(scale)
        if ctx.batch_statistics:
            number = shape.given * shape.rows
            of_x = -scale * rstd * second / number
            constant = -scale * first / number - of_x * center
        _call("combine", current, current, scale, of_x, constant, shape, out)
        grads = (second.to(weight.dtype), first.to(weight.dtype), sums[-1].to(decay.dtype))
        return out, *grads, None, None, None, None


def norm_and_scan(
    current: Tensor,
    norm: Norm,
    neuron: snn.Leaky,
    steps: int,
    surrogate_name: Surrogate,
) -> Tensor:
    """Batch norm over time and batch, then the spikes of leaky neurons over all steps.

    Parameters
    ----------
    current
        What the weights give, [T, B, C, ...], or [1, B, C, ...] for a static input.
    norm
        Batch norm, in training or evaluation; its running statistics are updated.
    neuron, steps, surrogate_name
        As for `pipelines.core.neurons.lif_scan`.

    Returns
    -------
    Tensor
        Spikes in {0, 1}, [T, B, C, ...], of the dtype of `current`.
    """
    current = _rows(current)
    reset: Reset = neuron.reset_mechanism
    shape = _Shape(
        rows=current[0].numel() // current.shape[2],
        channels=current.shape[2],
        steps=steps,
        given=len(current),
        decay=float(neuron.beta.detach().clamp(0, 1)),
        threshold=float(neuron.threshold),
        subtract=reset == "subtract",
        fast_sigmoid=surrogate_name == "fast_sigmoid",
    )
    assert norm.running_mean is not None
    assert norm.running_var is not None
    center, variance = norm.running_mean.double(), norm.running_var.double()
    if norm.training:
        around = current.detach()[0, 0].reshape(shape.channels, -1)[:, 0].double().contiguous()
        sums = around.new_zeros(2, len(around))
        _call("statistics", current, current, around, shape, sums[0], sums[1])
        number = shape.given * shape.rows
        mean, square = sums / number
        center, variance = around + mean, (square - mean * mean).clamp_min(0)
        assert norm.momentum is not None
        assert norm.num_batches_tracked is not None
        with torch.no_grad():
            unbiased = variance * (number / (number - 1))
            norm.running_mean.lerp_(center.to(norm.running_mean), norm.momentum)
            norm.running_var.lerp_(unbiased.to(norm.running_var), norm.momentum)
            norm.num_batches_tracked.add_(1)
    spikes: Tensor = _NormAndScan.apply(  # type: ignore[no-untyped-call]
        current,
        norm.weight,
        norm.bias,
        neuron.beta.clamp(0, 1),
        center,
        (variance + norm.eps).rsqrt(),
        norm.training,
        shape,
    )
    return spikes


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
