"""Winograd's convolutions: what PyTorch's give, up to rounding."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from pipelines.kernels.cpu import winograd

pytestmark = pytest.mark.skipif(
    not winograd.available(torch.zeros(1, 1, 3, 3)), reason="needs a C compiler"
)
ULP = 2.0**-8  # half of the distance from 1 to the next number of bfloat16


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def wanted(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """A convolution, and the gradient of its input where that of the output is the output."""
    given = x.clone().requires_grad_()
    y = functional.conv2d(given, weight, padding=1)
    (of_x,) = torch.autograd.grad(y, given, y)
    return y.detach(), of_x


def test_by_hand() -> None:
    """A one in the corner gives the weights around the middle; its gradient takes them back."""
    weight = torch.arange(9.0).view(1, 1, 3, 3)
    x = torch.zeros(1, 1, 3, 5)
    x[0, 0, 0, 0] = 1
    assert winograd.convolve(x, weight)[0, 0].tolist() == [
        [4, 3, 0, 0, 0],
        [1, 0, 0, 0, 0],
        [0, 0, 0, 0, 0],
    ]
    assert winograd.gradient_of_input(x, weight)[0, 0].tolist() == [
        [4, 5, 0, 0, 0],
        [7, 8, 0, 0, 0],
        [0, 0, 0, 0, 0],
    ]


@settings(deadline=None, max_examples=60)
@given(
    images=st.integers(1, 9),  # several turns of tiles, and one that is not full
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    inputs=st.integers(1, 20),
    outputs=st.integers(1, 40),
    dtype=st.sampled_from([torch.float64, torch.float32]),
)
def test_it_is_pytorchs_convolution(
    images: int, height: int, width: int, inputs: int, outputs: int, dtype: torch.dtype
) -> None:
    """Maps smaller than a tile, of odd sides, and channels that fill no vector."""
    x = draw(images, inputs, height, width).to(dtype)
    weight = draw(outputs, inputs, 3, 3, seed=1).to(dtype)
    y, of_x = wanted(x.double(), weight.double())
    rounding = 1e-12 if dtype == torch.float64 else 1e-5
    for found, exact in ((winograd.convolve(x, weight), y), (of_y(y, weight), of_x)):
        assert found.dtype == dtype
        assert found.shape == exact.shape
        assert (found - exact).abs().max() <= rounding * max(1.0, float(exact.abs().max()))


def of_y(y: Tensor, weight: Tensor) -> Tensor:
    return winograd.gradient_of_input(y.to(weight.dtype), weight)


def test_bfloat16_is_rounded_once() -> None:
    """Numbers of bfloat16 are summed up in float32; the sum is rounded to the nearest."""
    x, weight = draw(3, 12, 7, 8).bfloat16(), draw(10, 12, 3, 3, seed=1).bfloat16()
    y = functional.conv2d(x.double(), weight.double(), padding=1)
    torch.testing.assert_close(winograd.convolve(x, weight).double(), y, rtol=ULP, atol=1e-5)
    grad = y.bfloat16()
    of_x = functional.conv_transpose2d(grad.double(), weight.double(), padding=1)
    torch.testing.assert_close(of_y(grad, weight).double(), of_x, rtol=ULP, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_channel_without_weights_changes_no_bit(dtype: torch.dtype) -> None:
    """So that a network computes the same when it lost them for good."""
    x, weight = draw(4, 11, 6, 6).to(dtype), draw(9, 11, 3, 3, seed=1).to(dtype)
    weight[:, 3] = 0
    kept = [i for i in range(11) if i != 3]
    whole = winograd.convolve(x, weight)
    assert torch.equal(whole, winograd.convolve(x[:, kept], weight[:, kept]))
    silent = x.clone()
    silent[:, 3] = 0
    assert torch.equal(whole, winograd.convolve(silent, weight))
    assert not winograd.gradient_of_input(whole, weight)[:, 3].any()


def test_only_what_it_can() -> None:
    assert not winograd.available(torch.zeros(1, 1, 5, 5))
    assert not winograd.available(torch.zeros(1, 1, 3, 1))
    assert not winograd.available(torch.zeros(1, 1, 3, 3, dtype=torch.float16))
    assert not winograd.available(torch.zeros(1, 1, 3, 3, device="meta"))
