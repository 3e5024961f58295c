"""Linear layers behind maps."""

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
    """[T, B, C * H * W] as [T, B, C, H, W] with the channels last."""
    images = flat.view(-1, *shape[2:])
    return images.contiguous(memory_format=torch.channels_last).view(shape)


def flatten_maps(x: Tensor) -> Tensor:
    """[T, B, C, H, W] as [T, B, C * H * W]; what is flat already stays as it is.

    The gradient comes back with the channels last, as the maps are. PyTorch's own would have them
    first, and the pooling before it would turn its whole input around, not the fourth part of it.
    """
    return _Flatten.apply(x) if x.dim() > 3 else x  # type: ignore[no-untyped-call]


class _Kernel:
    """That and the layer in one, as a `pipelines.kernels.seam.Kernel`; the list is the flat x."""

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
    """Prepare a linear layer of [T, B, ...] that is one step for autograd, if it can be, on a CPU.

    It cannot where numbers are rounded to bfloat16, or somebody listens to the layer's calls. The
    flat input, which has no gradient, is the first of the lists.
    """
    plain = layer.bias is None and not (layer._forward_hooks or layer._forward_pre_hooks)
    if x.device.type != "cpu" or torch.is_autocast_enabled("cpu") or not plain:
        return None
    return Prepared(_Kernel(), x, layer.weight, (x.detach().flatten(2),))
