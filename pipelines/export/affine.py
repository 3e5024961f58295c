"""Weights of a layer with its batch norm folded in."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def affine(weights: nn.Conv2d | nn.Linear, norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Fold the batch norm after a layer into its weights, with its running statistics.

    Parameters
    ----------
    weights
        The layer; it has a bias if no batch norm follows.
    norm
        Batch norm, or any other module for none.

    Returns
    -------
    tuple of Tensor and Tensor
        Weights and bias in double precision. Weights that are zero stay zero.
    """
    if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
        assert norm.running_mean is not None
        assert norm.running_var is not None
        gain = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
        bias = norm.bias.double() - norm.running_mean.double() * gain
    else:
        assert weights.bias is not None
        bias, gain = weights.bias.double(), torch.ones_like(weights.bias, dtype=torch.double)
    return weights.weight.double() * gain.view(-1, *[1] * (weights.weight.dim() - 1)), bias
