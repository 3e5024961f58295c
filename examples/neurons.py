"""Multi-step neurons in the interface of SpikingJelly, so that examples need no more packages.

With SpikingJelly installed, ``from spikingjelly.activation_based.neuron import LIFNode`` and
``LIFNode(step_mode="m")`` take their place: the harness knows its neurons, and resets them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class _Spike(torch.autograd.Function):
    """A step, with the derivative of atan (alpha 2), as SpikingJelly's `surrogate.ATan`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (x >= 0).to(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return grad / (1 + (torch.pi * x).square())


class BaseNode(nn.Module):
    """Neurons over the first dimension of [T, B, ...]."""


class LIFNode(BaseNode):
    """Leaky integrate-and-fire neurons: v = v + (x - v) / tau, reset to 0.

    Parameters
    ----------
    tau
        Time constant of the membrane, in steps.
    threshold
        Firing threshold.
    """

    def __init__(self, tau: float = 2.0, threshold: float = 1.0) -> None:
        super().__init__()
        self.tau = tau
        self.threshold = threshold

    def forward(self, x: Tensor) -> Tensor:
        """Return spikes [T, B, ...] of input currents [T, B, ...]."""
        v, spikes = torch.zeros_like(x[0]), []
        for current in x:
            v = v + (current - v) / self.tau
            spike: Tensor = _Spike.apply(v - self.threshold)  # type: ignore[no-untyped-call]
            v = v * (1 - spike)
            spikes.append(spike)
        return torch.stack(spikes)


class Folded(nn.Module):
    """Neurons of tensors [T * B, ...], as layers of weights have them.

    Parameters
    ----------
    steps
        Time steps T.
    """

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.node = LIFNode()

    def forward(self, x: Tensor) -> Tensor:
        """Return spikes [T * B, ...]."""
        spikes: Tensor = self.node(x.unflatten(0, (self.steps, -1)))
        return spikes.flatten(0, 1)
