"""Maps become rows; their gradient keeps the layout of maps."""

from __future__ import annotations

import torch
from torch import nn

from pipelines.kernels import linear
from pipelines.kernels.linear import flatten_maps


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


def test_a_layer_behind_maps_is_pytorchs() -> None:
    layer, found = nn.Linear(60, 7, bias=False).double(), []
    for prepared in (False, True):
        layer.zero_grad()
        x = maps().requires_grad_()
        work = linear.prepare(layer, x) if prepared else None
        y = work() if work else layer(x.flatten(2))
        (y * torch.arange(7)).square().sum().backward()
        found.append([y, x.grad, layer.weight.grad])
        assert bool(work) is prepared
    torch.testing.assert_close(found[1], found[0], rtol=1e-12, atol=1e-12)


def test_other_layers_are_left_alone() -> None:
    x, layer = maps(), nn.Linear(60, 7, bias=False).double()
    assert linear.prepare(nn.Linear(60, 7).double(), x) is None, "it has a bias"
    with torch.autocast("cpu", torch.bfloat16):
        assert linear.prepare(layer, x) is None, "numbers are rounded"
    with layer.register_forward_hook(lambda *_: None):
        assert linear.prepare(layer, x) is None, "somebody listens"
    assert linear.prepare(layer.to("meta"), x.to("meta")) is None, "it is not on a CPU"
    assert linear.prepare(nn.Linear(60, 7, bias=False).double(), x) is not None
