"""Maps become rows; their gradient keeps the layout of maps."""

from __future__ import annotations

import torch

from pipelines.kernels.flatten import flatten_maps


def maps() -> torch.Tensor:
    draw = torch.randn(6, 4, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return draw.contiguous(memory_format=torch.channels_last).view(2, 3, 4, 5, 3)


def test_it_is_flatten() -> None:
    x = maps().requires_grad_()
    assert torch.equal(flatten_maps(x), x.flatten(2))
    assert torch.autograd.gradcheck(flatten_maps, x)
    assert torch.autograd.gradgradcheck(flatten_maps, x), "Hessian-vector products pass through"


def test_the_gradient_has_its_channels_last() -> None:
    seen = []
    x = maps().requires_grad_()
    carried = 1.0 * x
    carried.register_hook(lambda gradient: seen.append(gradient.flatten(0, 1)))
    flatten_maps(carried).sum().backward()
    (gradient,) = seen
    assert gradient.is_contiguous(memory_format=torch.channels_last)


def test_rows_stay_as_they_are() -> None:
    rows = torch.randn(2, 3, 4)
    assert flatten_maps(rows) is rows
