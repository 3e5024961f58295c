"""The LIF scan as two GPU kernels, for `pipelines.kernels.gpu.scan`: importing needs Triton.

Memory is [T, units]. A program follows one block of units through all steps, with their membrane
potentials in registers.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def advance(u, x, decay, threshold, SUBTRACT: tl.constexpr):
    """Membrane potential of the next step: the reset of a spike acts now."""
    if SUBTRACT:
        return x + u * decay - tl.where(u > threshold, threshold, 0.0)
    return x + tl.where(u > threshold, 0.0, u) * decay


@triton.jit
def past_reset(back, u, threshold, SUBTRACT: tl.constexpr):
    """Gradient of the next step that reaches u: a unit that is reset to zero starts anew."""
    if SUBTRACT:
        return back
    return tl.where(u > threshold, 0.0, back)


@triton.jit
def slope(over, FAST_SIGMOID: tl.constexpr, STEEPNESS: tl.constexpr):
    """What the surrogate divides a gradient by, at so much over the threshold."""
    steep = over * STEEPNESS
    if FAST_SIGMOID:
        steep = tl.abs(steep) + 1.0
        return steep * steep
    return steep * steep + 1.0


@triton.jit
def forward(
    current,
    decay,
    threshold,
    spikes,
    units,
    STEPS: tl.constexpr,
    STATIC: tl.constexpr,
    SUBTRACT: tl.constexpr,
    STATE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """spikes[t] = [u_t > threshold]; a static current is read once."""
    unit = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = unit < units
    kept, top = tl.load(decay).to(STATE), tl.load(threshold).to(STATE)
    x = tl.load(current + unit, mask=here, other=0.0).to(STATE)
    u, at = tl.zeros((BLOCK,), STATE), unit
    for t in tl.static_range(STEPS):
        if t > 0:
            at += units
            if not STATIC:
                x = tl.load(current + at, mask=here, other=0.0).to(STATE)
        u = advance(u, x, kept, top, SUBTRACT)
        fired = tl.where(u > top, 1.0, 0.0).to(spikes.dtype.element_ty)
        tl.store(spikes + at, fired, mask=here)


@triton.jit
def backward(
    current,
    gradient,
    decay,
    threshold,
    out,
    of_decay,
    units,
    STEPS: tl.constexpr,
    STATIC: tl.constexpr,
    SUBTRACT: tl.constexpr,
    STATE: tl.constexpr,
    BLOCK: tl.constexpr,
    FAST_SIGMOID: tl.constexpr,
    STEEPNESS: tl.constexpr,
):
    """Gradient of the current, and each block's part of the gradient of the decay.

    The potentials are worked out again from the current. A static current gets the sum over steps.
    """
    unit = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = unit < units
    kept, top = tl.load(decay).to(STATE), tl.load(threshold).to(STATE)
    x = tl.load(current + unit, mask=here, other=0.0).to(STATE)
    potentials, at = (x,), unit
    for t in tl.static_range(1, STEPS):
        at += units
        if not STATIC:
            x = tl.load(current + at, mask=here, other=0.0).to(STATE)
        potentials = potentials + (advance(potentials[t - 1], x, kept, top, SUBTRACT),)
    back = tl.zeros((BLOCK,), STATE)
    total, product = back, back
    for i in tl.static_range(STEPS):
        u = potentials[STEPS - 1 - i]
        if i > 0:
            at -= units
            back = past_reset(back, u, top, SUBTRACT)
            product += back * u
        g = tl.load(gradient + at, mask=here, other=0.0).to(STATE)
        back = g / slope(u - top, FAST_SIGMOID, STEEPNESS) + back * kept
        total += back
        if not STATIC:
            tl.store(out + at, back.to(out.dtype.element_ty), mask=here)
    if STATIC:
        tl.store(out + unit, total.to(out.dtype.element_ty), mask=here)
    tl.store(of_decay + tl.program_id(0), tl.sum(product))
