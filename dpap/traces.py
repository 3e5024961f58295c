"""Spike traces: how active a unit was, seen at each step of a sample or at its end."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


def trace(units: Tensor, tau: float, *, mean: bool = False) -> Tensor:
    """Leaky sum over time, S(t+1) = tau * S(t) + o(t+1), after the last step.

    Equations (1), (2) for spikes and (12), (13) for ReLU outputs, which have T = 1. A channel's
    map is summed before (`baselines.shared.activity`): the trace is linear, and this order is
    cheaper. For the same reason it is one product with the weights tau^(T-1), ..., tau, 1.

    Parameters
    ----------
    units
        [T, B, N].
    tau
        Decay per step, in [0, 1].
    mean
        Divide by T.

    Returns
    -------
    Tensor
        S^T, [B, N].
    """
    weights = _weights(len(units), tau, mean, units.dtype, units.device)
    return torch.mv(units.flatten(1).t(), weights).view(units.shape[1:])


@lru_cache(maxsize=64)
def _weights(
    steps: int, tau: float, mean: bool, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """What the spikes of each step still count at the end."""
    scale = 1 / steps if mean else 1.0
    left = [scale * tau ** (steps - 1 - t) for t in range(steps)]
    return torch.tensor(left, dtype=dtype, device=device)


def running_traces(units: Tensor, tau: float) -> Tensor:
    """Traces at every step: S^t of units [T, B, N], of the same shape."""
    steps = [units[0]]
    for now in units[1:]:
        steps.append(torch.add(now, steps[-1], alpha=tau))
    return torch.stack(steps)
