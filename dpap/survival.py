"""Survival of units, synapses and time steps: it accumulates their importance over updates."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dpap.presets import Decay, Normalization


@dataclass(frozen=True)
class SurvivalRule:
    """Constants and readings of equations (9) to (11) for one kind of layer.

    Parameters
    ----------
    epsilon
        Decay value of equation (9); a higher one prunes more.
    eta
        Decay rate of equation (11), in updates; with a higher one pruning goes on for longer.
    bonus
        C of equation (10), added where delta = 2 * importance - epsilon is positive.
    gamma
        Decay of the previous survival in equation (11), per update.
    normalization
        How importance is scaled to [0, 1], see `normalized`.
    bonus_at_zero
        Whether delta = 0 earns the bonus.
    decay
        ``smooth``: exp(-age / eta). ``staircase``: the same, with the ratio rounded down.
    """

    epsilon: float
    eta: float
    bonus: float
    gamma: float = 0.999
    normalization: Normalization = "min-max"
    bonus_at_zero: bool = True
    decay: Decay = "smooth"

    def update(self, before: Tensor, importance: Tensor, age: int) -> Tensor:
        """One update of the survival.

        Parameters
        ----------
        before
            Survival before the update, of any shape.
        importance
            Importance, of the same shape.
        age
            Number of survival updates before this one.

        Returns
        -------
        Tensor
            Survival after the update, gamma * before + exp(-age / eta) * dF, where dF is delta,
            plus the bonus where it is earned.
        """
        delta = 2 * normalized(importance, self.normalization) - self.epsilon
        risen = delta >= 0 if self.bonus_at_zero else delta > 0
        change = torch.where(risen, delta + self.bonus, delta)
        exponent = age / self.eta if self.decay == "smooth" else age // self.eta
        return self.gamma * before + math.exp(-exponent) * change


def normalized(importance: Tensor, normalization: Normalization = "min-max") -> Tensor:
    """Scale the importance of a layer to [0, 1].

    Parameters
    ----------
    importance
        Importance of all units or synapses of a layer, of any shape.
    normalization
        ``min-max``: the minimum becomes 0 and the maximum 1. ``percentile``: the 75th percentile
        becomes 1 and larger values are clipped, as in the released code, so that a quarter of the
        units gets exactly 1. If the 75th percentile equals the minimum, all values above the
        minimum become 1.

    Returns
    -------
    Tensor
        Of the same shape; 0.5 everywhere if all values are equal.
    """
    low, high = importance.min(), importance.max()
    if bool(high == low):
        return torch.full_like(importance, 0.5)
    if normalization == "percentile":
        flat = importance.flatten()
        rank = 0.75 * (flat.numel() - 1)  # torch.quantile refuses more than 2^24 entries
        below, above = (flat.kthvalue(k + 1).values for k in (math.floor(rank), math.ceil(rank)))
        top = below + (above - below) * (rank - math.floor(rank))
        high = torch.where(top > low, top, torch.nextafter(low, high))
    return ((importance - low) / (high - low)).clamp(0, 1)
