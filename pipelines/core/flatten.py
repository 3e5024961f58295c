"""From maps to the input of a linear layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _Flatten(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor) -> Tensor:
        ctx.shape = maps.shape
        return maps.flatten(2)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        flat = grad.view(ctx.shape).flatten(0, 1)
        return flat.contiguous(memory_format=torch.channels_last).view(ctx.shape)


def flatten_maps(x: Tensor) -> Tensor:
    """[T, B, C, H, W] as [T, B, C * H * W]; what is flat already stays as it is.

    The gradient comes back with the channels last, as the maps are. PyTorch's own would have them
    first, and the pooling before it would turn its whole input around, not the fourth part of it.
    """
    return _Flatten.apply(x) if x.dim() > 3 else x  # type: ignore[no-untyped-call]
