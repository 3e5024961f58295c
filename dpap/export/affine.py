"""Weights of a layer with its batch norm folded in."""

from __future__ import annotations

from torch import Tensor, nn


def affine(weights: nn.Conv2d | nn.Linear, norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Fold the batch norm after a layer into its weights, with its running statistics.

    Parameters
    ----------
    weights
        The layer, with or without a bias.
    norm
        Batch norm with running statistics, or any other module for none.

    Returns
    -------
    tuple of Tensor and Tensor
        Weights and bias in double precision. Weights that are zero stay zero.
    """
    weight = weights.weight.double()
    if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
        gain, bias = gain_and_shift(norm)
        if weights.bias is not None:
            bias = bias + weights.bias.double() * gain
    else:
        gain = weight.new_ones(len(weight))
        bias = gain.new_zeros(len(gain)) if weights.bias is None else weights.bias.double()
    return weight * gain.view(-1, *[1] * (weight.dim() - 1)), bias


def gain_and_shift(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return what batch norm multiplies and adds per channel, [C] each, in double precision."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    gain = (norm.running_var.double() + norm.eps).sqrt()
    gain = 1 / gain if norm.weight is None else norm.weight.double() / gain
    shift = -norm.running_mean.double() * gain
    return gain, shift if norm.bias is None else norm.bias.double() + shift
