"""Importance of units (the dendritic spine of a neuron or channel) and of time steps."""

from __future__ import annotations

import torch
from torch import Tensor


def unit_importance(post: Tensor, strengths: Tensor) -> Tensor:
    """Importance of units, equation (7), summed over k batches.

    Parameters
    ----------
    post
        Traces of the output units, [k, B, N].
    strengths
        Plasticity of each batch, summed over the input units, [k, N].

    Returns
    -------
    Tensor
        sum_k (sum_b S_post) * strength, [N].
    """
    return (post.sum(1) * strengths).sum(0)


def time_importance(pre: Tensor, post: Tensor) -> Tensor:
    """Importance of time steps, equation (8), summed over the samples.

    A time step of a unit is important if the unit spikes in it while the input traces are high.

    Parameters
    ----------
    pre
        Running traces of the input units, [T, B, P].
    post
        Activity of the output units, [T, B, N].

    Returns
    -------
    Tensor
        sum_b (sum_j S_pre^{0..t}) * O_post^t, [N, T].
    """
    return torch.einsum("tb,tbn->nt", pre.sum(2), post)
