"""Convolutions of grey images: outputs and gradients are PyTorch's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipelines.kernels import bfloat16
from pipelines.kernels.cpu import compiler, grey_convolution
from pipelines.kernels.cpu.grey_convolution import convolve, suits
from pipelines.settings.network import Execution, NetworkSpec
from pipelines.training.cell import build_network

needs_compiler = pytest.mark.skipif(
    compiler.library(grey_convolution._SOURCE, torch.float64) is None, reason="needs a C compiler"
)


def compute(convolution: nn.Conv2d, x: Tensor, *, fused: bool) -> Tensor:
    """By the plan ``folded`` or ``fused``."""
    if not fused:
        return convolve(convolution, x)
    prepared = grey_convolution.prepare(convolution, x)
    assert prepared is not None
    return prepared()


def layer(outputs: int = 5, kernel: int = 3, inputs: int = 1, **changes: Any) -> nn.Conv2d:
    fields = {"padding": kernel // 2, "bias": False, "dtype": torch.float64} | changes
    return nn.Conv2d(inputs, outputs, kernel, **fields)


@pytest.mark.parametrize("fused", [False, pytest.param(True, marks=needs_compiler)])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format], ids=str)
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("size", [(1, 1), (4, 7)], ids=str)
@pytest.mark.parametrize("outputs", [5, 8, 19])
def test_it_is_pytorchs(
    outputs: int, size: tuple[int, int], kernel: int, layout: torch.memory_format, fused: bool
) -> None:
    convolution = layer(outputs, kernel)
    x = torch.randn(3, 1, *size).double()
    assert suits(convolution, x)
    found: list[Tensor] = []
    for y in (convolution(x), compute(convolution, x, fused=fused)):
        convolution.zero_grad()
        grad = torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
        y.backward(grad.to(y).contiguous(memory_format=layout))
        assert convolution.weight.grad is not None
        found += [y.detach(), convolution.weight.grad.clone()]
    torch.testing.assert_close(found[2:], found[:2], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "changes",
    [
        {"inputs": 2},
        {"stride": 2},
        {"padding": 0},
        {"bias": True},
        {"dilation": 2},
        {"padding_mode": "circular"},
        {"dtype": torch.float32},
    ],
    ids=str,
)
def test_other_layers_are_left_alone(changes: dict[str, Any]) -> None:
    assert not suits(layer(**changes), torch.randn(3, changes.get("inputs", 1), 6, 6).double())


def test_so_is_a_layer_that_somebody_listens_to() -> None:
    convolution = layer()
    x = torch.randn(3, 1, 6, 6).double()
    with convolution.register_forward_hook(lambda *_: None):
        assert not suits(convolution, x)
    with convolution.register_forward_pre_hook(lambda *_: None):
        assert not suits(convolution, x)
    assert suits(convolution, x)


def test_it_can_be_differentiated_twice() -> None:
    x = torch.randn(2, 1, 3, 3).double()

    def output(weight: Tensor) -> Tensor:
        found: Tensor = grey_convolution._Convolution.apply(x, weight)  # type: ignore[no-untyped-call]
        return found.square()

    weight = layer(outputs=2).weight.detach().requires_grad_()
    assert torch.autograd.gradgradcheck(output, weight)


def test_so_is_an_input_that_learns() -> None:
    assert not suits(layer(), torch.randn(3, 1, 6, 6).double().requires_grad_())


def test_so_is_a_processor_with_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    convolution, x = layer(dtype=torch.float32), torch.randn(3, 1, 6, 6)
    with bfloat16.autocast(torch.device("cpu")):
        monkeypatch.setattr(bfloat16, "native", lambda: True)
        assert not suits(convolution, x)


@pytest.mark.parametrize("fused", [False, pytest.param(True, marks=needs_compiler)])
def test_without_one_numbers_are_rounded_all_the_same(
    fused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bfloat16, "native", lambda: False)
    torch.manual_seed(0)
    convolution, x, found = layer(dtype=torch.float32), torch.randn(3, 1, 6, 6), []
    with bfloat16.autocast(torch.device("cpu")):
        assert suits(convolution, x)
        results = convolution(x), compute(convolution, x, fused=fused)
    for y in results:  # as in a run, the backward pass is outside
        convolution.zero_grad()
        assert y.dtype == torch.bfloat16
        y.sum().backward()
        assert convolution.weight.grad is not None
        found.append((y.detach(), convolution.weight.grad.clone()))
    torch.testing.assert_close(found[1][0], found[0][0], rtol=0, atol=0)
    torch.testing.assert_close(found[1][1], found[0][1], rtol=2**-7, atol=1e-5)


@pytest.mark.usefixtures("snntorch_in_float64")
@pytest.mark.parametrize("plan", ["folded", "fused"])
def test_a_network_of_grey_images_uses_it(plan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = NetworkSpec(kind="snn", layout="6C3-MP2-7FC", time_steps=3)
    network = build_network(spec, (1, 8, 8), 5, 0, Execution(plan=plan)).double()
    x, used = torch.randn(4, 1, 8, 8).double(), []

    def gradients() -> list[Tensor]:
        network.zero_grad()
        network(x).square().sum().backward()
        return [p.grad.clone() for p in network.parameters() if p.grad is not None]

    name = "prepare" if plan == "fused" else "convolve"
    own = getattr(grey_convolution, name)
    with monkeypatch.context() as patch:
        patch.setattr(grey_convolution, name, lambda *a: used.append(name) or own(*a))
        found = gradients()
    monkeypatch.setattr(grey_convolution, "suits", lambda *_: False)
    assert used == [name]
    torch.testing.assert_close(found, gradients(), rtol=1e-10, atol=1e-10)
