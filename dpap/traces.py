"""Spike traces: leaky sums of a unit's activity over the time steps of a sample."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


def trace(units: Tensor, tau: float, *, mean: bool = False) -> Tensor:
    """Trace at the last time step of S(t+1) = tau * S(t) + o(t+1).

    Equations (1), (2) for spikes, and (12), (13) for ReLU outputs, which have T = 1. The trace is
    linear in the activity. So the feature map of a channel is summed before the trace is computed
    (`baselines.shared.activity`), which is cheaper, and the trace is one product with the weights
    tau^(T-1), ..., tau, 1.

    Parameters
    ----------
    units
        Activity o, [T, B, N].
    tau
        Decay per time step, in [0, 1].
    mean
        Whether to divide the trace by T.

    Returns
    -------
    Tensor
        S(T), [B, N].
    """
    weights = _weights(len(units), tau, mean, units.dtype, units.device)
    return torch.mv(units.flatten(1).t(), weights).view(units.shape[1:])


@lru_cache(maxsize=64)
def _weights(
    steps: int, tau: float, mean: bool, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Return the weight of each time step in the last trace, [T]."""
    scale = 1 / steps if mean else 1.0
    left = [scale * tau ** (steps - 1 - t) for t in range(steps)]
    return torch.tensor(left, dtype=dtype, device=device)


def running_traces(units: Tensor, tau: float) -> Tensor:
    """Traces at every time step.

    Parameters
    ----------
    units
        Activity, [T, B, N] or [T, k, B, N].
    tau
        Decay per time step, in [0, 1].

    Returns
    -------
    Tensor
        S(t), of the same shape.
    """
    steps = [units[0]]
    for now in units[1:]:
        steps.append(torch.add(now, steps[-1], alpha=tau))
    return torch.stack(steps)
