"""Batch norm's sums and constants on a GPU, for `pipelines.kernels.gpu.norm_scan`; needs Triton.

The kernels that go over a layer's input leave one sum per program, which the next one adds up: the
same numbers in the same order each time.
"""

from __future__ import annotations

import triton
import triton.language as tl

#: Rows of the constants of each channel; the last two are there when `settle` has run.
SCALE: tl.constexpr = tl.constexpr(0)
BIAS: tl.constexpr = tl.constexpr(1)
CENTER: tl.constexpr = tl.constexpr(2)
RSTD: tl.constexpr = tl.constexpr(3)
OF_X: tl.constexpr = tl.constexpr(4)
ADDED: tl.constexpr = tl.constexpr(5)


@triton.jit
def constant(constants, ROW: tl.constexpr, channels, column, STATE: tl.constexpr):
    """Load one constant of each channel."""
    at = constants + ROW * channels + column
    return tl.load(at, mask=column < channels, other=0.0).to(STATE)


@triton.jit
def keep(constants, ROW: tl.constexpr, channels, column, value):
    """Store one constant of each channel."""
    at = constants + ROW * channels + column
    tl.store(at, value.to(constants.dtype.element_ty), mask=column < channels)


@triton.jit
def total(partial, programs, stride, channels, column, BLOCK: tl.constexpr, COLUMNS: tl.constexpr):
    """Sum over programs, in double precision."""
    found = tl.zeros((BLOCK, COLUMNS), tl.float64)
    for first in range(0, programs, BLOCK):
        row = first + tl.arange(0, BLOCK)
        here = (row < programs)[:, None] & (column < channels)[None, :]
        at = row[:, None] * stride + column[None, :]
        found += tl.load(partial + at, mask=here, other=0.0).to(tl.float64)
    return tl.sum(found, 0)


@triton.jit(do_not_specialize=["positions"])
def statistics(
    x, partial, positions, channels, STATE: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):
    """Sums of x and of x^2 around the first x of each channel, [programs, 2, channels]."""
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    shift = constant(x, 0, channels, column, STATE)
    one = tl.zeros((ROWS, COLUMNS), STATE)
    two = tl.zeros((ROWS, COLUMNS), STATE)
    for first in range(tl.program_id(0) * ROWS, positions, tl.num_programs(0) * ROWS):
        row = first + tl.arange(0, ROWS)
        here = (row < positions)[:, None] & (column < channels)[None, :]
        at = row.to(tl.int64)[:, None] * channels + column[None, :]
        value = tl.load(x + at, mask=here, other=0.0).to(STATE) - shift[None, :]
        value = tl.where(here, value, 0.0)
        one += value
        two += value * value
    to = partial + tl.program_id(0) * 2 * channels
    keep(to, 0, channels, column, tl.sum(one, 0))
    keep(to, 1, channels, column, tl.sum(two, 0))


@triton.jit(do_not_specialize=["programs", "number"])
def prepare(
    x,
    partial,
    weight,
    bias,
    running_mean,
    running_variance,
    constants,
    programs,
    number,
    channels,
    MOMENTUM: tl.constexpr,
    EPSILON: tl.constexpr,
    TRAINING: tl.constexpr,
    BLOCK: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Make the first four constants, and move running statistics: the norm is x * SCALE + BIAS."""
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    mean = constant(running_mean, 0, channels, column, tl.float64)
    variance = constant(running_variance, 0, channels, column, tl.float64)
    if TRAINING:
        one = total(partial, programs, 2 * channels, channels, column, BLOCK, COLUMNS)
        two = total(partial + channels, programs, 2 * channels, channels, column, BLOCK, COLUMNS)
        offset = one / number
        here = constant(x, 0, channels, column, tl.float64) + offset
        around = tl.maximum(two / number - offset * offset, 0.0)
        unbiased = around * number / (number - 1)
        keep(running_mean, 0, channels, column, mean + MOMENTUM * (here - mean))
        keep(running_variance, 0, channels, column, variance + MOMENTUM * (unbiased - variance))
        mean, variance = here, around
    rstd = 1.0 / tl.sqrt(variance + EPSILON)
    scale = constant(weight, 0, channels, column, tl.float64) * rstd
    keep(constants, SCALE, channels, column, scale)
    added = constant(bias, 0, channels, column, tl.float64) - mean * scale
    keep(constants, BIAS, channels, column, added)
    keep(constants, CENTER, channels, column, mean)
    keep(constants, RSTD, channels, column, rstd)


@triton.jit(do_not_specialize=["programs", "number"])
def settle(
    partial,
    constants,
    of_weight,
    of_bias,
    of_decay,
    programs,
    number,
    channels,
    TRAINING: tl.constexpr,
    BLOCK: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Gradients of weight, bias and, per channel, of the decay; and the last two constants.

    The gradient of x is that of its norm times SCALE, plus x * OF_X + ADDED: what the statistics,
    which depend on x, add.
    """
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    of_norm = total(partial, programs, 3 * channels, channels, column, BLOCK, COLUMNS)
    partial += channels
    product = total(partial, programs, 3 * channels, channels, column, BLOCK, COLUMNS)
    partial += channels
    decay = total(partial, programs, 3 * channels, channels, column, BLOCK, COLUMNS)
    keep(of_weight, 0, channels, column, product)
    keep(of_bias, 0, channels, column, of_norm)
    keep(of_decay, 0, channels, column, decay)
    of_x, added = product * 0.0, product * 0.0
    if TRAINING:
        scale = constant(constants, SCALE, channels, column, tl.float64)
        of_x = -scale * constant(constants, RSTD, channels, column, tl.float64) * product / number
        center = constant(constants, CENTER, channels, column, tl.float64)
        added = -scale * of_norm / number - of_x * center
    keep(constants, OF_X, channels, column, of_x)
    keep(constants, ADDED, channels, column, added)
