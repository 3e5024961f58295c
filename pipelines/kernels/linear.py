"""Linear layers after convolutions: maps become rows, and their gradient becomes maps again."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pipelines.kernels.seam import Prepared


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


class _Kernel:
    """Flattening and linear layer as one `seam.Kernel`; the list is the flat input."""

    def forward(
        self, x: Tensor, weight: Tensor, lists: tuple[Tensor, ...], moments: Tensor | None
    ) -> tuple[Tensor, bool]:
        (flat,) = lists
        y = torch.mm(flat.view(-1, flat.shape[2]), weight.t())
        return y.view(*x.shape[:2], len(weight)), False

    def backward(
        self, x: Tensor, weight: Tensor, lists: tuple[Tensor, ...], grad: Tensor, *, of_x: bool
    ) -> tuple[Tensor | None, Tensor]:
        (flat,), grad = lists, grad.reshape(-1, len(weight))
        of_weight = torch.mm(grad.t(), flat.view(-1, flat.shape[2]))
        if not of_x:
            return None, of_weight
        wanted = torch.mm(grad, weight).view(flat.shape)
        return _as_maps(wanted, x.shape) if x.dim() > 3 else wanted, of_weight


def prepare(layer: nn.Linear, x: Tensor) -> Prepared | None:
    """Prepare flattening [T, B, ...] and a linear layer as one kernel, or return None.

    It needs a CPU, float32 or float64, no bias, and no hooks. The flat input, without a graph, is
    the first of the lists.
    """
    plain = layer.bias is None and not (layer._forward_hooks or layer._forward_pre_hooks)
    if x.device.type != "cpu" or torch.is_autocast_enabled("cpu") or not plain:
        return None
    return Prepared(_Kernel(), x, layer.weight, (x.detach().flatten(2),))
