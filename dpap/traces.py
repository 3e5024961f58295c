"""Spike traces: how active a unit was, seen at each step of a sample or at its end."""

from __future__ import annotations

import torch
from torch import Tensor


def unit_activity(activity: Tensor) -> Tensor:
    """Sum a channel's map, so that a channel counts as one population.

    Parameters
    ----------
    activity
        Spikes or ReLU outputs, [T, B, N] or [T, B, C, ...map].

    Returns
    -------
    Tensor
        [T, B, N] or [T, B, C].
    """
    return activity if activity.dim() == 3 else activity.flatten(3).sum(3)


def trace(units: Tensor, tau: float) -> Tensor:
    """Leaky sum over time, S(t+1) = tau * S(t) + o(t+1), after the last step.

    Equations (1), (2) for spikes and (12), (13) for ReLU outputs, which have T = 1. A channel's
    map is summed before (`unit_activity`): the trace is linear, and this order is cheaper.

    Parameters
    ----------
    units
        [T, B, N].
    tau
        Decay per step, in [0, 1].

    Returns
    -------
    Tensor
        S^T, [B, N].
    """
    last, *rest = units.unbind()
    for now in rest:
        last = torch.add(now, last, alpha=tau)
    return last


def running_traces(units: Tensor, tau: float) -> Tensor:
    """Traces at every step: S^t of units [T, B, N], of the same shape."""
    steps = [units[0]]
    for now in units[1:]:
        steps.append(torch.add(now, steps[-1], alpha=tau))
    return torch.stack(steps)
