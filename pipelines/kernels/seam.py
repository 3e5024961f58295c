"""The interface of kernels that apply the weights of a layer, and their autograd function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class Kernel(Protocol):
    """Forward and backward pass of a layer's weights, without autograd.

    Maps are [..., C, H, W] with the channels last in memory. `lists` are tensors that were computed
    from the input in advance, such as the places of its spikes.
    """

    def forward(
        self, x: Tensor, weight: Tensor, lists: tuple[Tensor, ...], moments: Tensor | None
    ) -> Tensor:
        """Return the output, and write its `moments`, [3, C] in float64, if these are given."""

    def backward(
        self, x: Tensor, weight: Tensor, lists: tuple[Tensor, ...], grad: Tensor, *, of_x: bool
    ) -> tuple[Tensor | None, Tensor]:
        """Return the gradients of x, or None unless `of_x`, and of the weights."""


@dataclass(frozen=True)
class Prepared:
    """A kernel with its arguments: a layer's output that is not computed yet.

    Parameters
    ----------
    kernel
        Applies the weights.
    x, weight
        The input, [T, B, ...], and the weights, in the number format of the computation.
    lists
        See `Kernel`.
    """

    kernel: Kernel
    x: Tensor
    weight: Tensor
    lists: tuple[Tensor, ...] = ()

    def __call__(self) -> Tensor:
        """Compute the output, [T, B, ...]."""
        y = _Apply.apply(  # type: ignore[no-untyped-call]
            self.x, self.weight, self.kernel, *self.lists
        )
        return cast(Tensor, y)


def maps(x: Tensor) -> Tensor:
    """View [..., C, H, W] as [N, C, H, W] with the channels last in memory, or copy it."""
    flat = x.flatten(0, -4) if x.dim() > 4 else x
    return flat.contiguous(memory_format=torch.channels_last)


def like(x: Tensor, y: Tensor) -> Tensor:
    """View maps [N, ...] with the leading dimensions of other maps `x`, [..., C, H, W]."""
    return y.view(*x.shape[:-3], *y.shape[1:])


class _Apply(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, kernel: Kernel, *lists: Tensor) -> Tensor:
        y = kernel.forward(x, weight, lists, None)
        ctx.save_for_backward(x, weight, *lists)
        ctx.kernel = kernel
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, *lists = ctx.saved_tensors
        of_x = ctx.needs_input_grad[0]
        grads = ctx.kernel.backward(x, weight, tuple(lists), grad, of_x=of_x)
        return *grads, None, *[None] * len(lists)
