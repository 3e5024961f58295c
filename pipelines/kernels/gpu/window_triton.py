"""Batch norm, the LIF scan and max pooling as GPU kernels, for `pipelines.kernels.gpu.norm_scan`.

Memory is [T, positions, channels]; a position is one of an image, row by row. A program takes ROWS
windows of WINDOW x WINDOW positions (one position, without pooling) times COLUMNS channels through
all steps; spikes before pooling are never written. Importing needs Triton.
"""

from __future__ import annotations

import triton
import triton.language as tl

from pipelines.kernels.gpu.norm_triton import (
    ADDED,
    BIAS,
    CENTER,
    OF_X,
    RSTD,
    SCALE,
    constant,
    keep,
)
from pipelines.kernels.gpu.scan_triton import advance, past_reset, slope


@triton.jit
def place(window, q, high, wide, channels, column, WINDOW: tl.constexpr):
    """Offsets in x of the q-th position of each window, at step 0; high x wide windows an image."""
    at = window
    if WINDOW > 1:
        rest = window % (high * wide)
        row = (window // (high * wide) * high + rest // wide) * WINDOW + q // WINDOW
        at = row * (wide * WINDOW) + rest % wide * WINDOW + q % WINDOW
    return at[:, None] * channels + column[None, :]


@triton.jit(do_not_specialize=["images", "high", "wide"])
def forward(
    x,
    constants,
    decay,
    threshold,
    spikes,
    counts,
    images,
    high,
    wide,
    channels,
    STEPS: tl.constexpr,
    STATIC: tl.constexpr,
    SUBTRACT: tl.constexpr,
    WINDOW: tl.constexpr,
    STATE: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Spikes, the maximum of each window; with pooling, how many there were before it as well.

    A program stays in one image. `counts` is [T, images, channels], zero before.
    """
    each = high * wide
    blocks = tl.cdiv(each, ROWS)
    image = tl.program_id(0) // blocks
    row = tl.program_id(0) % blocks * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    here = (row < each)[:, None] & (column < channels)[None, :]
    window = image.to(tl.int64) * each + row
    kept, top = tl.load(decay).to(STATE), tl.load(threshold).to(STATE)
    scale = constant(constants, SCALE, channels, column, STATE)[None, :]
    bias = constant(constants, BIAS, channels, column, STATE)[None, :]
    step = tl.cast(images * each, tl.int64) * channels  # of the spikes
    to = window[:, None] * channels + column[None, :]
    potentials = ()
    for t in tl.static_range(STEPS):
        fired = tl.zeros((ROWS, COLUMNS), tl.int32)
        now = ()
        for q in tl.static_range(WINDOW * WINDOW):
            at = place(window, q, high, wide, channels, column, WINDOW)
            if not STATIC:
                at += t * WINDOW * WINDOW * step
            u = tl.load(x + at, mask=here, other=0.0).to(STATE) * scale + bias
            if t > 0:
                u = advance(potentials[q], u, kept, top, SUBTRACT)
            fired += (u > top).to(tl.int32)
            now = now + (u,)
        potentials = now
        sent = tl.where(fired > 0, 1.0, 0.0).to(spikes.dtype.element_ty)
        tl.store(spikes + t * step + to, sent, mask=here)
        if WINDOW > 1:
            number = tl.sum(tl.where(here, fired, 0), 0).to(counts.dtype.element_ty)
            of_image = counts + (t * images + image) * channels + column
            tl.atomic_add(of_image, number, mask=column < channels, sem="relaxed")


@triton.jit
def membranes(
    x, at, here, step, scale, bias, kept, top,
    STEPS: tl.constexpr, STATIC: tl.constexpr, SUBTRACT: tl.constexpr,
):  # fmt: skip
    """Membrane potentials of each unit at all steps, worked out once more."""
    now = tl.load(x + at, mask=here, other=0.0).to(scale.dtype) * scale + bias
    found = (now,)
    for t in tl.static_range(1, STEPS):
        if not STATIC:
            at += step
            now = tl.load(x + at, mask=here, other=0.0).to(scale.dtype) * scale + bias
        found = found + (advance(found[t - 1], now, kept, top, SUBTRACT),)
    return found


@triton.jit
def steps_with_spikes(
    x, window, here, step, high, wide, channels, column, scale, bias, kept, top,
    STEPS: tl.constexpr, STATIC: tl.constexpr, SUBTRACT: tl.constexpr, WINDOW: tl.constexpr,
):  # fmt: skip
    """Steps at which some position of each window fires, one bit each; without pooling none."""
    bits = here.to(tl.int32) * 0
    if WINDOW > 1:
        for q in range(WINDOW * WINDOW):
            at = place(window, q, high, wide, channels, column, WINDOW)
            potentials = membranes(
                x, at, here, step, scale, bias, kept, top, STEPS, STATIC, SUBTRACT
            )
            for t in tl.static_range(STEPS):
                bits |= (potentials[t] > top).to(tl.int32) << t
    return bits


@triton.jit
def portion(share, fired, taken, spiking, q, T: tl.constexpr, WINDOW: tl.constexpr):
    """What the q-th position gets of its window's gradient at step T: all of it, or nothing."""
    if WINDOW == 1:
        return share
    first = fired & ((taken >> T) & 1 == 0)
    none = (q == 0) & ((spiking >> T) & 1 == 0)
    return tl.where(first | none, share, 0.0)


@triton.jit
def hand_on(back, x, at, here, out, scale, factor, offset, of_norm, product, SUMS: tl.constexpr):
    """Add the gradient of normalised numbers to the sums, or store that of the numbers."""
    value = tl.load(x + at, mask=here, other=0.0).to(back.dtype)
    if SUMS:
        return of_norm + back, product + back * ((value - offset) * factor)
    gradient = back * scale + (value * factor + offset)
    tl.store(out + at, gradient.to(out.dtype.element_ty), mask=here)
    return of_norm, product


@triton.jit(do_not_specialize=["windows", "high", "wide"])
def backward(
    x,
    gradient,
    constants,
    decay,
    threshold,
    out,
    partial,
    windows,
    high,
    wide,
    channels,
    STEPS: tl.constexpr,
    STATIC: tl.constexpr,
    SUBTRACT: tl.constexpr,
    WINDOW: tl.constexpr,
    STATE: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    FAST_SIGMOID: tl.constexpr,
    STEEPNESS: tl.constexpr,
    SUMS: tl.constexpr,
):
    """With SUMS, what `settle` adds up, [programs, 3, channels]; else the gradient of x.

    The gradient of a window's maximum goes to the first of its positions that fired, or to its
    first position.
    """
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    kept, top = tl.load(decay).to(STATE), tl.load(threshold).to(STATE)
    scale = constant(constants, SCALE, channels, column, STATE)[None, :]
    bias = constant(constants, BIAS, channels, column, STATE)[None, :]
    # What a number of x is multiplied with, and what is added: its norm, or the gradient's share.
    factor = constant(constants, RSTD if SUMS else OF_X, channels, column, STATE)[None, :]
    offset = constant(constants, CENTER if SUMS else ADDED, channels, column, STATE)[None, :]
    behind = tl.cast(windows, tl.int64) * channels  # from one step to the next, of the spikes
    step = WINDOW * WINDOW * behind
    of_norm = tl.zeros((ROWS, COLUMNS), STATE)
    product = tl.zeros((ROWS, COLUMNS), STATE)
    of_decay = tl.zeros((ROWS, COLUMNS), STATE)
    for first in range(tl.program_id(0) * ROWS, windows, tl.num_programs(0) * ROWS):
        window = tl.cast(first, tl.int64) + tl.arange(0, ROWS)
        here = (window < windows)[:, None] & (column < channels)[None, :]
        given = gradient + window[:, None] * channels + column[None, :]
        spiking = steps_with_spikes(
            x, window, here, step, high, wide, channels, column, scale, bias, kept, top,
            STEPS, STATIC, SUBTRACT, WINDOW,
        )  # fmt: skip
        taken = spiking * 0  # steps whose gradient some position has been given
        for q in range(WINDOW * WINDOW):
            at = place(window, q, high, wide, channels, column, WINDOW)
            potentials = membranes(
                x, at, here, step, scale, bias, kept, top, STEPS, STATIC, SUBTRACT
            )
            if not STATIC:
                at += (STEPS - 1) * step
            back = tl.zeros((ROWS, COLUMNS), STATE)
            sums = back
            for i in tl.static_range(STEPS):
                u = potentials[STEPS - 1 - i]
                fired = u > top
                share = tl.load(given + (STEPS - 1 - i) * behind, mask=here, other=0.0).to(STATE)
                share = portion(share, fired, taken, spiking, q, STEPS - 1 - i, WINDOW)
                taken |= fired.to(tl.int32) << (STEPS - 1 - i)
                back = past_reset(back, u, top, SUBTRACT)
                of_decay += back * u
                back = share / slope(u - top, FAST_SIGMOID, STEEPNESS) + back * kept
                sums += back
                if not STATIC:
                    of_norm, product = hand_on(
                        back, x, at, here, out, scale, factor, offset, of_norm, product, SUMS
                    )
                    at -= step
            if STATIC:
                of_norm, product = hand_on(
                    sums, x, at, here, out, scale, factor, offset, of_norm, product, SUMS
                )
    if SUMS:
        to = partial + tl.program_id(0) * 3 * channels
        keep(to, 0, channels, column, tl.sum(of_norm, 0))
        keep(to, 1, channels, column, tl.sum(product, 0))
        keep(to, 2, channels, column, tl.sum(of_decay, 0))
