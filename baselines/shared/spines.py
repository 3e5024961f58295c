"""Dendritic spines of SD-SNN: a range of each weight, which follows the weight slowly."""

from __future__ import annotations

import torch
from torch import Tensor

#: Factor of the range of a weight that shrinks.
NARROWER = 0.75


class Spines:
    """Ranges [low, high] of the weights of one layer (arXiv 2211.12219, and its released code).

    Parameters
    ----------
    weight
        The weight; all ranges start at its largest magnitude.
    patience
        Updates in a row after which a range changes.
    """

    def __init__(self, weight: Tensor, patience: int) -> None:
        most = weight.detach().abs().max()
        self.patience = patience
        self.high = torch.ones_like(weight.detach()) * most
        self.low = -self.high
        self.before = weight.detach().abs().clone()  # magnitudes at the last update
        # Updates in a row, and the excess over the range in them, above, below and inside.
        self.counts = [torch.zeros_like(self.high) for _ in range(3)]
        self.excess = [torch.zeros_like(self.high) for _ in range(2)]

    @property
    def width(self) -> Tensor:
        """Width of the ranges, of the weight's shape."""
        return self.high - self.low

    def update(self, weight: Tensor) -> None:
        """Count one update, and change the ranges whose count reaches the patience."""
        w = weight.detach()
        for side, sign in enumerate((1, -1)):
            bound = self.high if sign > 0 else self.low
            beyond = sign * (w - bound) >= 0
            self.counts[side] = (self.counts[side] + 1) * beyond
            self.excess[side] = (self.excess[side] + (w - bound)) * beyond
            ripe = self.counts[side] >= self.patience
            bound += self.excess[side] / self.patience * ripe
            self.counts[side] *= ~ripe
            self.excess[side] *= ~ripe
        self.counts[2] = (self.counts[2] + 1) * (w.abs() < self.before)
        ripe = self.counts[2] >= self.patience
        for bound in (self.high, self.low):
            bound.copy_(torch.where(ripe, NARROWER * bound, bound))
        self.counts[2] *= ~ripe
        self.before = w.abs().clone()

    def clamp_(self, weight: Tensor) -> None:
        """Clamp the weight to its ranges, in place."""
        weight.copy_(torch.minimum(torch.maximum(weight, self.low), self.high))
