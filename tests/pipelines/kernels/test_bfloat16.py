"""The precision bfloat16 on a processor that has none: that of one that has, in float32."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipelines.kernels import bfloat16
from pipelines.kernels.cpu import norm_scan, spike_convolution
from pipelines.settings.network import Execution, NetworkSpec
from pipelines.training.cell import build_network

CPU = torch.device("cpu")
LAYERS = {
    "convolution": lambda: nn.Conv2d(8, 12, 3, padding=1, bias=False),
    "strided, with a bias": lambda: nn.Conv2d(8, 12, 3, stride=2),
    "linear": lambda: nn.Linear(6, 5),
}
ULP = 2.0**-8  # half of the distance from 1 to the next number of bfloat16


@pytest.fixture(autouse=True)
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor without bfloat16, whatever this one has."""
    monkeypatch.setattr(bfloat16, "native", lambda: False)


def run(layer: nn.Module, x: Tensor, **autocast: Any) -> list[Tensor]:
    """Output and gradients, of the input first."""
    layer.zero_grad()
    given = x.clone().requires_grad_()
    with bfloat16.autocast(CPU, **autocast):
        y = layer(given)
    y.float().backward(torch.randn(y.shape, generator=torch.Generator().manual_seed(1)))
    return [y, *(t.grad for t in (given, *layer.parameters()) if t.grad is not None)]


@pytest.mark.parametrize("name", LAYERS)
def test_pytorchs_own_bfloat16_agrees(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same numbers go in; sums are rounded at the end, or, where it emulates, on the way."""
    torch.manual_seed(0)
    layer, x = LAYERS[name](), torch.randn(3, 8, 6, 6)
    widened = run(layer, x)
    monkeypatch.setattr(bfloat16, "native", lambda: True)
    own = run(layer, x)
    assert len(own) == len(widened) > 2
    for one, other in zip(widened, own, strict=True):
        assert one.dtype == other.dtype
        assert (one - other).float().norm() < 2 * ULP * other.float().norm()


@pytest.mark.parametrize("name", LAYERS)
def test_numbers_are_rounded(name: str) -> None:
    """By hand: inputs, weights and bias to bfloat16, the sum in float64, then to bfloat16."""
    torch.manual_seed(0)
    layer, x = LAYERS[name](), torch.randn(3, 8, 6, 6)
    (found, *_) = run(layer, x)
    exact = LAYERS[name]().double()
    for mine, given in zip(exact.parameters(), layer.parameters(), strict=True):
        mine.data = given.detach().bfloat16().double()
    wanted = exact(x.bfloat16().double())
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.double(), wanted, rtol=ULP, atol=1e-5)
    assert not torch.equal(found.float(), layer(x)), "and that is something else than float32"


def test_nothing_else_is_touched() -> None:
    layer, x = nn.Linear(4, 3), torch.randn(2, 4)
    (y, *_) = run(layer, x, enabled=False)
    assert torch.equal(y, layer(x))
    with bfloat16.autocast(CPU):
        assert torch.relu(x).dtype == torch.float32
        assert functional.linear(weight=layer.weight, input=x).dtype == torch.bfloat16
    assert functional.linear(x, layer.weight).dtype == torch.float32


def test_a_convolution_of_spikes_is_that_of_all_numbers() -> None:
    if not norm_scan.available():
        pytest.skip("needs a C compiler")
    torch.manual_seed(0)
    layer = nn.Conv2d(8, 16, 3, padding=1, bias=False)
    x = (torch.rand(7, 8, 9, 9) < 0.2).float()
    dense = run(layer, x)

    class Listed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: Tensor) -> Tensor:
            prepared = spike_convolution.prepare(layer, x)
            assert prepared is not None
            return prepared()

    listed = run(Listed(), x)
    assert len(listed) == len(dense) == 3
    for one, other in zip(listed, dense, strict=True):
        assert one.dtype == other.dtype
        torch.testing.assert_close(one, other, rtol=2 * ULP, atol=2 * ULP)


@pytest.mark.parametrize("plan", ["step", "folded", "fused"])
def test_a_network_spikes_as_with_pytorchs_own(plan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for potentials at the threshold, which the order of a sum may lift over it."""
    spec = NetworkSpec(kind="snn", layout="6C3-8C3-MP2-7FC", time_steps=3)
    execution = Execution(plan=plan, precision="bfloat16")
    network = build_network(spec, (2, 8, 8), 5, 0, execution)
    x = torch.randn(16, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    scores, activity = network.run(x)  # batch norm of the batch: neurons fire
    monkeypatch.setattr(bfloat16, "native", lambda: True)
    own_scores, own = network.run(x)
    assert scores.dtype == own_scores.dtype == torch.float32
    for layer in ("conv1", "conv2", "fc1"):
        spikes, wanted = activity[layer][1], own[layer][1]
        assert spikes.dtype == wanted.dtype
        assert wanted.any()
        assert (spikes != wanted).float().mean() < 0.01
