"""Maps become rows for a linear layer, and their gradient becomes maps again."""

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
        return _as_maps(grad, ctx.shape)


def _as_maps(flat: Tensor, shape: torch.Size) -> Tensor:
    """Turn [T, B, C * H * W] into [T, B, C, H, W] with the channels last in memory."""
    images = flat.view(-1, *shape[2:])
    return images.contiguous(memory_format=torch.channels_last).view(shape)


def flatten_maps(x: Tensor) -> Tensor:
    """Flatten [T, B, C, H, W] to [T, B, C * H * W]; a flat input is returned as it is.

    The gradient has the channels last, as the maps have. PyTorch's gradient has them first, and the
    pooling before the layer would have to transpose it at four times the size.
    """
    return _Flatten.apply(x) if x.dim() > 3 else x  # type: ignore[no-untyped-call]
