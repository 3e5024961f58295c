"""Spike traces: how active a unit was, seen at the end of a sample."""

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


def trace(activity: Tensor, tau: float) -> Tensor:
    """Leaky sum over time, S(t+1) = tau * S(t) + o(t+1), after the last step.

    Equations (1), (2) for spikes and (12), (13) for ReLU outputs, which have T = 1. The map
    of a channel is summed first: the trace is linear, and this order is cheaper.

    Parameters
    ----------
    activity
        [T, B, N] or [T, B, C, ...map].
    tau
        Decay per step, in [0, 1].

    Returns
    -------
    Tensor
        S^T, [B, N] or [B, C].
    """
    units = unit_activity(activity)
    steps = units.shape[0]
    weights = tau ** torch.arange(steps - 1, -1, -1, dtype=units.dtype, device=units.device)
    return torch.einsum("tbn,t->bn", units, weights)
