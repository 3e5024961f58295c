"""LAMP scores of weights, for methods that build on them."""

from __future__ import annotations

import torch
from torch import Tensor


def lamp(weight: Tensor) -> Tensor:
    """LAMP scores of one layer, in [0, 1], float64 of the weight's shape.

    Sort the weights by magnitude, in ascending order. The score of weight u is
    w_u^2 / sum_{v >= u} w_v^2 (Lee et al. 2021, arXiv 2010.07611, equation 1).
    """
    # Single precision would lose the smallest squares in the sums.
    squares, order = weight.double().square().flatten().sort()
    remaining = squares.flip(0).cumsum(0).flip(0).clamp_min(torch.finfo(torch.double).tiny)
    scores = torch.empty_like(squares).scatter_(0, order, squares / remaining)
    return scores.view_as(weight)
