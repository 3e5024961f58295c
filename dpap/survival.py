"""Survival: importance, accumulated over development, decides who is pruned."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SurvivalConstants:
    """Constants of equations (9) to (11) for one kind of layer.

    Parameters
    ----------
    epsilon
        Decay value of (9); higher prunes more.
    eta
        Decay rate of (11), in updates; higher prunes longer.
    bonus
        C of (10), added where the importance has risen.
    """

    epsilon: float
    eta: float
    bonus: float


def normalized(importance: Tensor) -> Tensor:
    """Min-max over the layer to [0, 1]; 0.5 where all are equal."""
    low, high = importance.min(), importance.max()
    if bool(high == low):
        return torch.full_like(importance, 0.5)
    return (importance - low) / (high - low)


def survival(
    before: Tensor, importance: Tensor, constants: SurvivalConstants, gamma: float, age: int
) -> Tensor:
    """One update of the survival function, equations (9) to (11).

    Parameters
    ----------
    before
        Survival before the update, any shape.
    importance
        Importance since the last update, of the same shape.
    constants
        Of this kind of layer.
    gamma
        Decay of the old survival.
    age
        Updates since the first one, from 0.

    Returns
    -------
    Tensor
        gamma * before + exp(-age / eta) * dF; a unit below zero is pruned.
    """
    delta = 2 * normalized(importance) - constants.epsilon
    change = torch.where(delta >= 0, delta + constants.bonus, delta)
    return gamma * before + math.exp(-age / constants.eta) * change
