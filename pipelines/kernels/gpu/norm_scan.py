"""Batch norm, leaky neurons and max pooling on a GPU, as `kernels.cpu.norm_scan` on a CPU.

The kernels have a third of the memory accesses of separate functions, and save only the output of
the convolution. Triton compiles them at their first use.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import snntorch as snn
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from baselines.shared.activity import Unwritten
from pipelines.kernels.batch_norm import Norm, begin, channels_last
from pipelines.kernels.gpu.scan import constants_of
from pipelines.settings.network import Surrogate

#: Units of a program, at most; membrane potentials that it holds in registers, over all steps; and
#: units of a warp: 32 threads, with a wide load each.
UNITS, HELD, WARP = 512, 8192, 128

#: Programs of a kernel that goes on to the next windows by itself, at most.
PROGRAMS = 2048

#: Programs that are summed at a time, and channels next to each other.
_BLOCK, _COLUMNS = 64, 64

#: Rows of constants of each channel: see the kernels.
_CONSTANTS = 6


@dataclass(frozen=True)
class _Scan:
    """The constants that the kernels are compiled for, and the shape of their input.

    Parameters
    ----------
    images, high, wide
        Windows: maps of high x wide of each image.
    window
        Side of a window, in positions.
    steps, static
        T; and whether the input is the same at all of them.
    subtract, surrogate_name
        Of the neurons.
    """

    images: int
    high: int
    wide: int
    window: int
    channels: int
    steps: int
    static: bool
    subtract: bool
    surrogate_name: Surrogate

    @property
    def windows(self) -> int:
        return self.images * self.high * self.wide

    @property
    def given(self) -> int:
        """Numbers per channel in the input."""
        return self.windows * self.window**2 * (1 if self.static else self.steps)

    def tile(self, held: int) -> dict[str, int]:
        """Rows and columns of a program that holds so many potentials of each unit."""
        columns = min(_COLUMNS, _power(self.channels))
        units = max(columns, min(UNITS, HELD // _power(held)))
        rows = min(units // columns, _power(self.windows))
        return {"ROWS": rows, "COLUMNS": columns, "num_warps": max(1, rows * columns // WARP)}

    def grid(self, rows: int, tile: dict[str, int]) -> tuple[int, int]:
        """Programs over rows, of which each goes on to further ones, and over channels."""
        across = _over(self.channels, tile["COLUMNS"])
        return min(_over(rows, tile["ROWS"]), max(1, PROGRAMS // across)), across

    def by_channel(self) -> tuple[tuple[int], dict[str, int]]:
        """Grid and block of a kernel that adds the partial sums of each channel."""
        columns = min(_COLUMNS, _power(self.channels))
        return (_over(self.channels, columns),), {"BLOCK": _BLOCK, "COLUMNS": columns}

    def launch(self, state: torch.dtype) -> dict[str, Any]:
        """Constants that forward and backward kernels are compiled for."""
        return {
            "STEPS": self.steps,
            "STATIC": self.static,
            "SUBTRACT": self.subtract,
            "WINDOW": self.window,
            "STATE": _language(state),
        }


def _power(number: int) -> int:
    """Return the first power of two that is not less."""
    return 1 << (number - 1).bit_length()


def _over(number: int, size: int) -> int:
    """How many blocks of a size there are in a number."""
    return -(-number // size)


def _language(state: torch.dtype) -> Any:
    from triton import language

    return language.float64 if state == torch.float64 else language.float32


class _NormAndScan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        current: Tensor,
        weight: Tensor,
        bias: Tensor,
        decay: Tensor,
        threshold: Tensor,
        norm: Norm,
        scan: _Scan,
    ) -> tuple[Tensor, Tensor, Tensor]:
        constants = _prepare(current, weight, bias, norm, scan)
        spikes, counts = _spikes(current, constants, decay, threshold, scan)
        ctx.save_for_backward(current, constants, decay, threshold)
        ctx.scan, ctx.training = scan, norm.training
        ctx.mark_non_differentiable(counts, constants)
        return spikes, counts, constants

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: None) -> tuple[Tensor | None, ...]:
        from pipelines.kernels.gpu import norm_triton, window_triton

        current, constants, decay, threshold = ctx.saved_tensors
        scan: _Scan = ctx.scan
        grad, out = channels_last(grad), torch.empty_like(current)  # maps may be recomputed later
        tile = scan.tile(scan.steps)
        grid = scan.grid(scan.windows, tile)
        partial = constants.new_empty(grid[0], 3, scan.channels)
        surrogate = constants_of(scan.surrogate_name)

        def run(*, sums: bool) -> None:
            window_triton.backward[grid](
                current,
                grad,
                constants,
                decay,
                threshold,
                out,
                partial,
                scan.windows,
                scan.high,
                scan.wide,
                scan.channels,
                SUMS=sums,
                **scan.launch(constants.dtype),
                **surrogate,
                **tile,
            )

        run(sums=True)
        of_weight, of_bias, of_decay = constants.new_empty(3, scan.channels).unbind()
        over_channels, block = scan.by_channel()
        norm_triton.settle[over_channels](
            partial,
            constants,
            of_weight,
            of_bias,
            of_decay,
            grid[0],
            scan.given,
            scan.channels,
            TRAINING=ctx.training,
            **block,
        )
        run(sums=False)
        return out, of_weight, of_bias, of_decay.sum().to(decay.dtype), None, None, None


def _prepare(current: Tensor, weight: Tensor, bias: Tensor, norm: Norm, scan: _Scan) -> Tensor:
    """Constants of each channel; running statistics move in training."""
    from pipelines.kernels.gpu import norm_triton

    state = torch.promote_types(current.dtype, torch.float32)
    constants = torch.empty(_CONSTANTS, scan.channels, dtype=state, device=current.device)
    programs, partial = 0, constants
    if norm.training:
        tile = scan.tile(1)
        programs, across = scan.grid(scan.given, tile)
        partial = constants.new_empty(programs, 2, scan.channels)
        norm_triton.statistics[(programs, across)](
            current, partial, scan.given, scan.channels, STATE=_language(state), **tile
        )
    over_channels, block = scan.by_channel()
    norm_triton.prepare[over_channels](
        current,
        partial,
        weight,
        bias,
        norm.running_mean,
        norm.running_var,
        constants,
        programs,
        scan.given,
        scan.channels,
        MOMENTUM=norm.momentum,
        EPSILON=norm.eps,
        TRAINING=norm.training,
        **block,
    )
    return constants


def _spikes(
    current: Tensor, constants: Tensor, decay: Tensor, threshold: Tensor, scan: _Scan
) -> tuple[Tensor, Tensor]:
    """Pooled spikes, [T, B, C, ...], and their numbers before pooling, [T, B, C]."""
    from pipelines.kernels.gpu import window_triton

    batch, channels, *extent = current.shape[1:]
    size = (scan.steps * batch, channels, *(n // scan.window for n in extent))
    layout = torch.channels_last if extent else torch.contiguous_format
    spikes = torch.empty(size, dtype=current.dtype, device=current.device, memory_format=layout)
    counts = constants.new_zeros(scan.steps if scan.window > 1 else 0, batch, channels)
    tile = scan.tile(scan.window**2)
    each = scan.high * scan.wide
    tile["ROWS"] = min(tile["ROWS"], _power(each))
    grid = (scan.images * _over(each, tile["ROWS"]), _over(channels, tile["COLUMNS"]))
    window_triton.forward[grid](
        current,
        constants,
        decay,
        threshold,
        spikes,
        counts,
        scan.images,
        scan.high,
        scan.wide,
        channels,
        **scan.launch(constants.dtype),
        **tile,
    )
    return spikes.view(scan.steps, batch, *size[1:]), counts


def norm_and_scan(
    current: Tensor,
    norm: Norm,
    neuron: snn.Leaky,
    steps: int,
    surrogate_name: Surrogate,
    window: int = 1,
) -> tuple[Tensor, Unwritten]:
    """Batch norm over time and batch, leaky neurons over all steps, then max pooling.

    Parameters, results and errors: `pipelines.kernels.cpu.norm_scan.norm_and_scan`. Nothing is
    read back from the device.
    """
    current = channels_last(current)
    begin(norm, current)
    given, batch, channels, *extent = current.shape
    positions = batch * math.prod(extent)
    images, high, wide = (batch, *extent) if window > 1 else (1, 1, positions)
    scan = _Scan(
        images=images,
        high=high // window,
        wide=wide // window,
        window=window,
        channels=channels,
        steps=steps,
        static=given == 1 < steps,
        subtract=neuron.reset_mechanism == "subtract",
        surrogate_name=surrogate_name,
    )
    decay = neuron.beta.clamp(0, 1)
    spikes, counts, constants = _NormAndScan.apply(  # type: ignore[no-untyped-call]
        current, norm.weight, norm.bias, decay, neuron.threshold, norm, scan
    )
    numbers, rate = current.detach(), decay.detach()  # the maps keep no graph alive
    whole = replace(scan, images=1, high=1, wide=positions, window=1)

    def maps() -> Tensor:
        return _spikes(numbers, constants, rate, neuron.threshold, whole)[0]

    return spikes, Unwritten(counts, maps)
