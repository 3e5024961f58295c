"""Importance of units (the dendritic spine of a neuron or channel) and of timesteps."""

from __future__ import annotations

import torch
from torch import Tensor


def unit_importance(post: Tensor, strengths: Tensor) -> Tensor:
    """Equation (7), summed over k batches.

    Parameters
    ----------
    post
        Traces of the outputs, [k, B, N].
    strengths
        Plasticity of each batch, summed over the inputs, [k, N].

    Returns
    -------
    Tensor
        sum_k (sum_b S_post) * strength, [N].
    """
    return (post.sum(1) * strengths).sum(0)


def time_importance(pre: Tensor, post: Tensor) -> Tensor:
    """Equation (8), summed over the samples: whose spikes follow active inputs, and when.

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
