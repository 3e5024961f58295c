"""Importance of units: the dendritic spine of a neuron or channel."""

from __future__ import annotations

from torch import Tensor


def unit_importance(post: Tensor, change: Tensor) -> Tensor:
    """One batch's term of equation (7).

    Parameters
    ----------
    post
        Traces of the outputs, [B, N].
    change
        The batch's plasticity, [N, P].

    Returns
    -------
    Tensor
        sum_b S_post * sum_j change_j, [N].
    """
    return post.sum(0) * change.sum(1)
