"""LAMP: scores relative to the scores of the same layer that are not smaller."""

from __future__ import annotations

import torch
from torch import Tensor


def over_larger(scores: Tensor) -> Tensor:
    """Divide each score by the sum of the scores that are not smaller.

    Lee et al. 2021 (arXiv 2010.07611, equation 1) sort the squared weights of a layer in ascending
    order and divide each by the sum of itself and all that follow. Equal scores get equal values
    here, so that their order is left to the random generator of the selection.

    Parameters
    ----------
    scores
        Scores of one layer or group, of any shape, finite and not negative.

    Returns
    -------
    Tensor
        float64 of the same shape, in [0, 1]; the largest score gets 1 if it is the only one.

    Raises
    ------
    ValueError
        If a score is negative.
    """
    # Single precision would lose the smallest scores in the sums.
    flat = scores.double().flatten()
    if bool((flat < 0).any()):
        raise ValueError("scope 'lamp' needs scores that are not negative: use another scope")
    ascending = flat.sort().values
    remaining = ascending.flip(0).cumsum(0).flip(0).clamp_min(torch.finfo(torch.double).tiny)
    return (flat / remaining[torch.searchsorted(ascending, flat)]).view_as(scores)


def lamp(weight: Tensor) -> Tensor:
    """LAMP scores of the weights of one layer: their squares over the larger squares.

    Parameters
    ----------
    weight
        Weights of one layer, of any shape.

    Returns
    -------
    Tensor
        float64 of the same shape, in [0, 1].
    """
    return over_larger(weight.double().square())
