"""Survival: importance, accumulated over development, decides who is pruned."""

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
        Decay value of (9); higher prunes more.
    eta
        Decay rate of (11), in updates; higher prunes longer.
    bonus
        C of (10), added where the importance has risen.
    gamma
        Decay of the old survival in (11).
    normalization, bonus_at_zero, decay
        See `dpap.presets`.
    """

    epsilon: float
    eta: float
    bonus: float
    gamma: float = 0.999
    normalization: Normalization = "min-max"
    bonus_at_zero: bool = True
    decay: Decay = "smooth"

    def update(self, before: Tensor, importance: Tensor, age: int) -> Tensor:
        """One update of the survival function.

        Parameters
        ----------
        before
            Survival before, any shape.
        importance
            Importance, of the same shape.
        age
            Updates since the first one, from 0.

        Returns
        -------
        Tensor
            gamma * before + exp(-age / eta) * dF; what falls below zero is pruned.
        """
        delta = 2 * normalized(importance, self.normalization) - self.epsilon
        risen = delta >= 0 if self.bonus_at_zero else delta > 0
        change = torch.where(risen, delta + self.bonus, delta)
        exponent = age / self.eta if self.decay == "smooth" else age // self.eta
        return self.gamma * before + math.exp(-exponent) * change


def normalized(importance: Tensor, normalization: Normalization = "min-max") -> Tensor:
    """Importance of a layer in [0, 1]; 0.5 where all are equal.

    ``percentile`` takes the 75th percentile as the top, as the released code does: a quarter of
    the units gets exactly 1. Where it equals the minimum, all above the minimum get 1.
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
