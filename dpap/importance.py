"""Importance of units (the dendritic spine of a neuron or channel) and of timesteps."""

from __future__ import annotations

import torch
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


def time_importance(pre: Tensor, post: Tensor) -> Tensor:
    """One batch's term of equation (8): whose spikes follow active inputs, and when.

    Parameters
    ----------
    pre
        Running traces of the inputs, [T, B, P].
    post
        Unit activity of the outputs, [T, B, N].

    Returns
    -------
    Tensor
        sum_b (sum_j S_pre^{0..t}) * O_post^t, [N, T].
    """
    return torch.einsum("tb,tbn->nt", pre.sum(2), post)
