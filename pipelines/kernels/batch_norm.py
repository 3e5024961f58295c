"""What the fused kernels of every device share about batch norm."""

from __future__ import annotations

import torch
from torch import Tensor, nn

Norm = nn.BatchNorm1d | nn.BatchNorm2d


def channels_last(tensor: Tensor) -> Tensor:
    """Return [T, B, C, ...] with the channels last in memory; copied if they are not."""
    if tensor.dim() == 3:
        return tensor.contiguous()
    flat: Tensor = tensor.flatten(0, 1).contiguous(memory_format=torch.channels_last)
    return flat.view(*tensor.shape[:2], *flat.shape[1:])


def begin(norm: Norm, current: Tensor) -> torch.dtype:
    """Count a batch, if batch norm is in training; return the number format of its parameters.

    Raises
    ------
    TypeError
        If that is not the format of the computation: float32 for bfloat16 inputs.
    """
    kind = torch.promote_types(current.dtype, torch.float32)
    if norm.weight.dtype != kind:
        raise TypeError(f"batch norm of {current.dtype} inputs must be {kind}")
    if norm.training:
        assert norm.num_batches_tracked is not None
        norm.num_batches_tracked.add_(1)
    return kind
