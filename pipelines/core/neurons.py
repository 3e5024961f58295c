"""Leaky integrate-and-fire over all time steps at once.

`lif_scan` computes what stepping `snntorch.Leaky` computes, outputs and gradients, but layer by
layer: one forward and one backward function over [T, B, ...] instead of an autograd graph per
step. It saves the membrane potential only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import snntorch as snn
import torch
from snntorch import surrogate
from torch import Tensor
from torch.autograd.function import once_differentiable

Reset = Literal["zero", "subtract"]
Surrogate = Literal["atan", "fast_sigmoid"]

_ATAN_ALPHA = 2.0
_FAST_SIGMOID_SLOPE = 25.0


def _atan_derivative(x: Tensor) -> Tensor:
    return (_ATAN_ALPHA / 2) / (x * (math.pi / 2 * _ATAN_ALPHA)).square_().add_(1)


def _fast_sigmoid_derivative(x: Tensor) -> Tensor:
    return (x.abs().mul_(_FAST_SIGMOID_SLOPE).add_(1)).square_().reciprocal_()


_SURROGATES: dict[Surrogate, tuple[Callable[[], Any], Callable[[Tensor], Tensor]]] = {
    "atan": (lambda: surrogate.atan(alpha=_ATAN_ALPHA), _atan_derivative),
    "fast_sigmoid": (
        lambda: surrogate.fast_sigmoid(slope=_FAST_SIGMOID_SLOPE),
        _fast_sigmoid_derivative,
    ),
}


def make_neuron(
    beta: float, learn_beta: bool, threshold: float, reset: Reset, surrogate_name: Surrogate
) -> snn.Leaky:
    """Build a `snntorch.Leaky` whose state is passed explicitly."""
    return snn.Leaky(
        beta=beta,
        learn_beta=learn_beta,
        threshold=threshold,
        reset_mechanism=reset,
        spike_grad=_SURROGATES[surrogate_name][0](),
    )


class _Scan(torch.autograd.Function):
    """u_t = decay * u_{t-1} + x_t with reset, s_t = [u_t > threshold]; see `lif_scan`."""

    @staticmethod
    def forward(
        ctx: Any,
        current: Tensor,
        decay: Tensor,
        threshold: float,
        steps: int,
        reset: Reset,
        surrogate_name: Surrogate,
    ) -> Tensor:
        static = current.shape[0] == 1 and steps > 1
        one = torch.empty_like(current[0])  # keeps the memory layout, channels_last too
        membrane = current.new_empty_strided(
            (steps, *one.shape), (one.numel(), *one.stride())
        ).copy_(current)
        spikes = torch.empty_like(membrane)
        torch.gt(membrane[0], threshold, out=spikes[0])
        for t in range(1, steps):
            if reset == "zero":
                carried = membrane[t - 1] * (1 - spikes[t - 1])
                membrane[t].addcmul_(carried, decay)
            else:
                membrane[t].addcmul_(membrane[t - 1], decay).sub_(spikes[t - 1], alpha=threshold)
            torch.gt(membrane[t], threshold, out=spikes[t])
        ctx.save_for_backward(membrane, decay)
        ctx.threshold, ctx.reset, ctx.static = threshold, reset, static
        ctx.derivative = _SURROGATES[surrogate_name][1]
        return spikes

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_spikes: Tensor) -> tuple[Tensor | None, ...]:
        membrane, decay = ctx.saved_tensors
        grad = ctx.derivative(membrane - ctx.threshold).mul_(grad_spikes)
        before = membrane[:-1]
        if ctx.reset == "zero":  # a unit that fired starts the next step from zero
            quiet = (before <= ctx.threshold).to(before.dtype)
            before = before * quiet
            factor = quiet.mul_(decay)
        else:
            factor = decay.expand(len(before), *[1] * (before.dim() - 1))
        for t in range(len(before) - 1, -1, -1):
            grad[t].addcmul_(grad[t + 1], factor[t])
        learn = ctx.needs_input_grad[1]
        grad_decay = (grad[1:] * before).sum() if learn else None
        grad_current = grad.sum(0, keepdim=True) if ctx.static else grad
        return grad_current, grad_decay, None, None, None, None


def lif_scan(current: Tensor, neuron: snn.Leaky, steps: int, surrogate_name: Surrogate) -> Tensor:
    """Spikes of a layer of leaky neurons over all steps.

    Equal to calling ``neuron(current[t], membrane)`` for t = 0 .. steps-1 from a membrane of
    zeros: the reset acts at the next step and carries no gradient, and beta is clamped to [0, 1].

    Parameters
    ----------
    current
        Input current, [T, B, ...], or [1, B, ...] for an input that is the same at every step.
    neuron
        Holds beta (scalar), threshold and reset mechanism.
    steps
        T.
    surrogate_name
        Surrogate gradient that the neuron was made with.

    Returns
    -------
    Tensor
        Spikes in {0, 1}, [T, B, ...].

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
        float(neuron.threshold),
        steps,
        neuron.reset_mechanism,
        surrogate_name,
    )
    return spikes
