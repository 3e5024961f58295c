"""Leaky integrate-and-fire over all time steps at once.

`lif_scan` has the outputs and gradients of stepping `snntorch.Leaky`, but is one autograd function
over [T, B, ...] instead of a graph per time step. It saves membrane potentials and spikes. The
gradient overwrites the potentials, so a second backward pass is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import snntorch as snn
import torch
from snntorch import surrogate
from torch import Tensor
from torch.autograd.function import once_differentiable

from pipelines.settings.network import Reset, Surrogate

#: Name of the neuron model whose time steps the scans compute.
NEURON = "leaky"

#: Of snnTorch's surrogates.
ATAN_ALPHA = 2.0
FAST_SIGMOID_SLOPE = 25.0

#: Elements that the scan computes at a time, over all time steps; they fit into a core's cache.
BLOCK = 2**18


def _atan_gradient(membrane: Tensor, threshold: float, grad: Tensor) -> None:
    """Gradient through snnTorch's `atan`, whose alpha is 2: grad / (1 + (pi / 2 * alpha * x)^2)."""
    scale = math.pi / 2 * ATAN_ALPHA
    torch.add(membrane.new_full((), -threshold * scale), membrane, alpha=scale, out=membrane)
    torch.addcmul(membrane.new_ones(()), membrane, membrane, out=membrane)
    torch.div(grad, membrane, out=membrane)


def _fast_sigmoid_gradient(membrane: Tensor, threshold: float, grad: Tensor) -> None:
    """Gradient through snnTorch's `fast_sigmoid`: grad / (slope * abs(x) + 1)^2."""
    membrane.sub_(threshold).abs_().mul_(FAST_SIGMOID_SLOPE).add_(1).square_()
    torch.div(grad, membrane, out=membrane)


#: Name -> snnTorch's function, and its gradient, which overwrites the membrane potential.
_SURROGATES: dict[Surrogate, tuple[Callable[[], Any], Callable[..., None]]] = {
    "atan": (lambda: surrogate.atan(alpha=ATAN_ALPHA), _atan_gradient),
    "fast_sigmoid": (
        lambda: surrogate.fast_sigmoid(slope=FAST_SIGMOID_SLOPE),
        _fast_sigmoid_gradient,
    ),
}


def spike_gradient(surrogate_name: Surrogate) -> Any:
    """Make snnTorch's function of a surrogate gradient."""
    return _SURROGATES[surrogate_name][0]()


def make_neuron(
    beta: float, learn_beta: bool, threshold: float, reset: Reset, surrogate_name: Surrogate
) -> snn.Leaky:
    """Build a `snntorch.Leaky` whose state is passed explicitly."""
    neuron = snn.Leaky(
        beta=beta,
        learn_beta=learn_beta,
        threshold=threshold,
        reset_mechanism=reset,
        spike_grad=spike_gradient(surrogate_name),
    )
    neuron.fires_above = float(neuron.threshold)  # reading the buffer would wait for a GPU
    return neuron


def flat_steps(tensor: Tensor, like: Tensor) -> Tensor:
    """View [T, ...] as [T, N] in the memory order of one step `like`; copied if it is another."""
    strides = (like.numel(), *like.stride())
    if tensor.stride()[1:] != strides[1:] or (len(tensor) > 1 and tensor.stride(0) != strides[0]):
        tensor = tensor.new_empty_strided(tensor.shape, strides).copy_(tensor)
    return tensor.as_strided((len(tensor), like.numel()), (like.numel(), 1))


def empty_steps(like: Tensor, steps: int, dtype: torch.dtype) -> Tensor:
    """Memory for [T, ...] with each step laid out as `like`."""
    shape, strides = (steps, *like.shape), (like.numel(), *like.stride())
    return like.new_empty_strided(shape, strides, dtype=dtype)


def _blocks(flat: Tensor, steps: int) -> list[tuple[Tensor, ...]]:
    """Split [T, N] into parts, each as its T steps: many on a CPU, one elsewhere."""
    width = BLOCK // steps if flat.device.type == "cpu" else flat.shape[1]
    return [part.unbind() for part in flat.split(max(1, width), 1)]


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
        overwrite: bool,
    ) -> Tensor:
        one = torch.empty_like(current[0])  # keeps the memory layout, channels_last too
        spikes = empty_steps(one, steps, current.dtype)
        static = len(current) == 1 < steps
        state = torch.promote_types(current.dtype, torch.float32)
        x, s = flat_steps(current.detach(), one), flat_steps(spikes, one)
        u = (
            x
            if overwrite and not static and x.dtype == state
            else x.new_empty(s.shape, dtype=state)
        )
        for given, membrane, fired in zip(*(_blocks(f, steps) for f in (x, u, s)), strict=True):
            if u is not x:
                membrane[0].copy_(given[0])
            torch.gt(membrane[0], threshold, out=fired[0])
            for t in range(1, steps):
                before = membrane[t - 1]
                if reset == "zero":
                    before = torch.addcmul(before, before, fired[t - 1], value=-1)
                torch.addcmul(given[0 if static else t], before, decay, out=membrane[t])
                if reset == "subtract":
                    membrane[t].sub_(fired[t - 1], alpha=threshold)
                torch.gt(membrane[t], threshold, out=fired[t])
        ctx.save_for_backward(u, spikes, decay)
        ctx.threshold, ctx.reset, ctx.static = threshold, reset, static
        ctx.gradient = _SURROGATES[surrogate_name][1]
        return spikes

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_spikes: Tensor) -> tuple[Tensor | None, ...]:
        u, spikes, decay = ctx.saved_tensors
        steps, one = len(spikes), spikes[0]
        g, s = (flat_steps(tensor, one) for tensor in (grad_spikes, spikes))
        grad_decay = torch.zeros_like(decay) if ctx.needs_input_grad[1] else None
        for membrane, fired, given in zip(*(_blocks(f, steps) for f in (u, s, g)), strict=True):
            back = None
            for t in range(steps - 1, -1, -1):
                if back is not None and ctx.reset == "zero":  # who fired starts anew from zero
                    back = torch.addcmul(back, back, fired[t], value=-1)
                if back is not None and grad_decay is not None:
                    grad_decay += torch.dot(back, membrane[t])
                total = membrane[t]  # the gradient takes the place of the potential
                ctx.gradient(total, ctx.threshold, given[t])
                back = total if back is None else total.addcmul_(back, decay)
        grad = u.as_strided(spikes.shape, spikes.stride())
        if ctx.static:
            grad = grad.sum(0, keepdim=True)
        return grad.to(spikes.dtype), grad_decay, None, None, None, None, None


def lif_scan(
    current: Tensor,
    neuron: snn.Leaky,
    steps: int,
    surrogate_name: Surrogate,
    *,
    overwrite: bool = False,
) -> Tensor:
    """Spikes of a layer of leaky neurons over all steps.

    Equal to calling ``neuron(current[t], membrane)`` for t = 0 .. steps-1 from a membrane of
    zeros: the reset acts at the next step and carries no gradient, and beta is clamped to [0, 1].

    Parameters
    ----------
    current
        Input current, [T, B, ...], or [1, B, ...] for an input that is the same at every step.
    neuron
        Made by `make_neuron`; holds beta (scalar), threshold and reset mechanism.
    steps
        T.
    surrogate_name
        Surrogate gradient that the neuron was made with.
    overwrite
        Store membrane potentials in the memory of `current`; nothing else may read it then.

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
        neuron.fires_above,
        steps,
        neuron.reset_mechanism,
        surrogate_name,
        overwrite,
    )
    return spikes
