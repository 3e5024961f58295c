"""Weights, batch norm and scan as one step for autograd: what they are one after the other."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipelines.kernels.cpu import grey_convolution, norm_scan, spike_convolution
from pipelines.kernels.scan import make_neuron
from pipelines.kernels.seam import Prepared

pytestmark = pytest.mark.skipif(
    not norm_scan.available(), reason="the plan 'fused' needs a C compiler"
)
STEPS, BATCH = 3, 5


def grey(outputs: int) -> tuple[Any, Tensor, Any]:
    """A convolution of images of one channel."""
    layer = nn.Conv2d(1, outputs, 3, padding=1, bias=False)
    return layer, torch.randn(1, BATCH, 1, 6, 8), grey_convolution.prepare


def spikes(outputs: int, share: float = 0.2) -> tuple[Any, Tensor, Any]:
    """A convolution of spikes."""
    layer = nn.Conv2d(5, outputs, 3, padding=1, bias=False)
    x = (torch.rand(STEPS, BATCH, 5, 6, 8) < share).float()
    return layer, x, spike_convolution.prepare


def both(layer: Any, x: Tensor, prepare: Any, window: int, *, training: bool) -> list[Any]:
    """Spikes, statistics and gradients: in one step, and in two; PyTorch does the first."""
    results = []
    for at_once in (True, False):
        layer.zero_grad()
        given = x.clone().requires_grad_(layer.weight.shape[1] > 1)
        norm = nn.BatchNorm2d(len(layer.weight), dtype=x.dtype).train(training)
        neuron = make_neuron(0.7, True, 0.4, "zero", "atan").to(x.dtype)
        if at_once:
            prepared = prepare(layer, given)
            assert isinstance(prepared, Prepared)
            y, sent = norm_scan.norm_and_scan(prepared, norm, neuron, STEPS, "atan", window)
        else:
            current = layer(given.flatten(0, 1)).unflatten(0, given.shape[:2])
            y, sent = norm_scan.norm_and_scan(current, norm, neuron, STEPS, "atan", window)
        maps = sent.maps()
        draw = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
        (y * draw.to(y)).sum().backward()
        results.append([y, maps, given.grad, layer.weight.grad.clone()])
        results[-1] += [norm.running_mean, norm.running_var, norm.weight.grad, norm.bias.grad]
        results[-1].append(neuron.beta.grad)
    return results


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("window", [1, 2])
@pytest.mark.parametrize("outputs", [9, 16, 37, 70])
@pytest.mark.parametrize("kind", [grey, spikes])
def test_one_step_is_two(kind: Any, outputs: int, window: int, training: bool) -> None:
    """Also where a vector is not full, and where channels are taken in several slices."""
    torch.manual_seed(0)
    layer, x, prepare = kind(outputs)
    found, wanted = both(layer.double(), x.double(), prepare, window, training=training)
    assert 0 < wanted[0].mean() < 1
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


def test_statistics_of_currents_far_from_zero() -> None:
    """Their variance is a ten-thousandth of their squares: single precision must not lose it."""
    torch.manual_seed(0)
    layer, _, prepare = grey(9)
    layer.weight.data = layer.weight.data.abs() + 0.5
    x = 100 + torch.randn(1, 64, 1, 12, 12)
    x[..., [0, -1], :] = x[..., [0, -1]] = 0  # so the corner is far from the others
    found, _ = both(layer, x, prepare, 1, training=True)
    maps = layer.double()(x[0].double())
    torch.testing.assert_close(found[4].double(), 0.1 * maps.mean((0, 2, 3)), rtol=1e-5, atol=0)
    variance = 0.9 + 0.1 * maps.var((0, 2, 3))
    torch.testing.assert_close(found[5].double(), variance, rtol=1e-4, atol=0)


def test_the_memory_of_the_currents_is_used_once() -> None:
    layer, x, prepare = spikes(8)
    norm, neuron = nn.BatchNorm2d(8), make_neuron(0.7, True, 1.0, "zero", "atan")
    y, sent = norm_scan.norm_and_scan(prepare(layer, x), norm, neuron, STEPS, "atan", 2)
    y.sum().backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()
    with pytest.raises(RuntimeError, match="before the backward pass"):
        sent.maps()


class _Deaf(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.sum()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> None:
        return None


def test_without_a_gradient_nothing_is_sent_back() -> None:
    layer, x, prepare = spikes(8)
    norm, neuron = nn.BatchNorm2d(8), make_neuron(0.7, True, 1.0, "zero", "atan")
    y, _ = norm_scan.norm_and_scan(prepare(layer, x), norm, neuron, STEPS, "atan", 1)
    _Deaf.apply(y).backward()  # type: ignore[no-untyped-call]
    assert layer.weight.grad is None
    assert norm.weight.grad is None
