"""Leaky neurons over all time steps on a GPU, one kernel per pass: for neurons after a shortcut.

It equals `pipelines.kernels.scan.lif_scan`, but saves only the input current, and reads or writes
each number once per pass. Triton compiles the kernels at their first use.
"""

from __future__ import annotations

import math
from functools import cache
from importlib.util import find_spec
from typing import Any

import snntorch as snn
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pipelines.kernels.scan import (
    ATAN_ALPHA,
    FAST_SIGMOID_SLOPE,
    empty_steps,
    flat_steps,
    make_neuron,
)
from pipelines.settings.network import Surrogate

#: Largest number of time steps; for many more, registers and compile time do not suffice.
LONGEST = 32

#: Membrane potentials that a program of the backward kernel holds in registers, over all steps.
_HELD = 4096

_STEEPNESS = {"atan": math.pi / 2 * ATAN_ALPHA, "fast_sigmoid": FAST_SIGMOID_SLOPE}


def available(device: torch.device, steps: int) -> bool:
    """Whether the kernels run on a device, for so many time steps."""
    return device.type == "cuda" and steps <= LONGEST and _works(device)


@cache
def _works(device: torch.device) -> bool:
    """Whether Triton is installed and its compiler works, by a trial."""
    if find_spec("triton") is None:
        return False
    neuron = make_neuron(0.5, True, 1.0, "zero", "atan").to(device)
    try:
        with torch.enable_grad():
            current = torch.ones(1, 1, 1, device=device, requires_grad=True)
            lif_scan(current, neuron, 2, "atan").sum().backward()
    except Exception:  # whatever its compiler, driver or assembler raise
        return False
    return current.grad is not None


def constants_of(surrogate_name: Surrogate) -> dict[str, Any]:
    """Arguments of the kernels for a surrogate gradient."""
    return {
        "FAST_SIGMOID": surrogate_name == "fast_sigmoid",
        "STEEPNESS": _STEEPNESS[surrogate_name],
    }


def _block(steps: int) -> int:
    """Units of one program, a power of two."""
    return min(1024, 1 << (_HELD // steps).bit_length() - 1)


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        current: Tensor,
        decay: Tensor,
        threshold: Tensor,
        steps: int,
        subtract: bool,
        surrogate_name: Surrogate,
    ) -> Tensor:
        from triton import language

        from pipelines.kernels.gpu import scan_triton

        one = torch.empty_like(current[0])  # keeps the memory layout, channels_last too
        spikes = empty_steps(one, steps, current.dtype)
        ctx.save_for_backward(current, decay, threshold)
        ctx.surrogate_name, ctx.steps = surrogate_name, steps
        ctx.launch = {
            "STEPS": steps,
            "STATIC": len(current) == 1 < steps,
            "SUBTRACT": subtract,
            "STATE": language.float64 if current.dtype == torch.float64 else language.float32,
            "BLOCK": (block := _block(steps)),
            "num_warps": min(4, block // 128),  # four units per thread: one wide load
        }
        grid = (-(-one.numel() // block),)
        scan_triton.forward[grid](
            flat_steps(current, one), decay, threshold, spikes, one.numel(), **ctx.launch
        )
        return spikes

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_spikes: Tensor) -> tuple[Tensor | None, ...]:
        from pipelines.kernels.gpu import scan_triton

        current, decay, threshold = ctx.saved_tensors
        one = torch.empty_like(current[0])
        grad = empty_steps(one, len(current), current.dtype)
        grid = (-(-one.numel() // ctx.launch["BLOCK"]),)
        state = torch.promote_types(current.dtype, torch.float32)
        of_decay = torch.empty(grid, dtype=state, device=current.device)
        scan_triton.backward[grid](
            flat_steps(current, one),
            flat_steps(grad_spikes, one),
            decay,
            threshold,
            grad,
            of_decay,
            one.numel(),
            **constants_of(ctx.surrogate_name),
            **ctx.launch,
        )
        return grad, of_decay.sum(dtype=torch.float64).to(decay.dtype), None, None, None, None


def lif_scan(current: Tensor, neuron: snn.Leaky, steps: int, surrogate_name: Surrogate) -> Tensor:
    """Spikes of a layer of leaky neurons over all steps, as `pipelines.kernels.scan.lif_scan`.

    Nothing is read back from the device.

    Parameters
    ----------
    current
        Input current, [T, B, ...], or [1, B, ...] for an input that is the same at every step.
    neuron, steps, surrogate_name
        As there.

    Returns
    -------
    Tensor
        Spikes in {0, 1}, [T, B, ...], of the dtype of `current`.

    Raises
    ------
    ValueError
        If the first dimension of `current` is neither 1 nor `steps`.
    """
    if current.shape[0] not in (1, steps):
        raise ValueError(f"current has {current.shape[0]} steps, not {steps} or 1")
    spikes: Tensor = _Scan.apply(  # type: ignore[no-untyped-call]
        current,
        neuron.beta.clamp(0, 1),
        neuron.threshold,
        steps,
        neuron.reset_mechanism == "subtract",
        surrogate_name,
    )
    return spikes
