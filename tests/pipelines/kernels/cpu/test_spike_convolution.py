"""Convolutions of listed spikes: what PyTorch's convolutions of the same spikes give."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pipelines.kernels import bfloat16
from pipelines.kernels.cpu import norm_scan, spike_convolution
from pipelines.settings.network import Execution, NetworkSpec
from pipelines.training.cell import build_network

pytestmark = pytest.mark.skipif(
    not norm_scan.available(),
    reason="the plan 'fused' needs a C compiler",
)
RESULTS = ("output", "gradient of the input", "gradient of the weights")


def convolve(convolution: nn.Conv2d, x: Tensor) -> Tensor:
    """As in the plan ``fused``."""
    prepared = spike_convolution.prepare(convolution, x)
    return prepared() if prepared else convolution(x)


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Inputs whose spikes were listed and used, however many they were."""
    inputs: list[Tensor] = []
    prepare = spike_convolution.prepare

    def prepare_and_note(convolution: nn.Conv2d, x: Tensor, **settings: bool) -> Any:
        prepared = prepare(convolution, x, **settings)
        if prepared:
            inputs.append(x)
        return prepared

    monkeypatch.setattr(spike_convolution, "prepare", prepare_and_note)
    return inputs


@pytest.fixture
def any_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spikes are listed even where that is slow."""
    monkeypatch.setattr(spike_convolution, "LIMIT", 1.0)
    monkeypatch.setattr(spike_convolution, "OUTPUTS", 1)


def spikes(*shape: int, share: float = 0.2, dtype: torch.dtype = torch.float64) -> Tensor:
    draw = torch.Generator().manual_seed(0)
    return (torch.rand(shape, generator=draw) < share).to(dtype)


def layer(inputs: int, outputs: int, kernel: int, **changes: Any) -> nn.Conv2d:
    fields = {"padding": kernel // 2, "bias": False, "dtype": torch.float64} | changes
    torch.manual_seed(0)
    return nn.Conv2d(inputs, outputs, kernel, **fields)


def both(convolution: nn.Conv2d, x: Tensor) -> list[list[Tensor]]:
    """What PyTorch and what `convolve` gives: `RESULTS`."""
    results = []
    for function in (convolution, lambda x: convolve(convolution, x)):
        convolution.zero_grad()
        given = x.clone().requires_grad_()
        y = function(given)
        y.backward(torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y))
        assert given.grad is not None
        assert convolution.weight.grad is not None
        results.append([y.detach(), given.grad, convolution.weight.grad.clone()])
    return results


@settings(deadline=None, max_examples=60)
@given(
    images=st.integers(1, 4),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    inputs=st.integers(1, 20),
    outputs=st.integers(1, 150),  # more than a slice has
    kernel=st.sampled_from([1, 3, 5]),
    share=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    single=st.booleans(),
)
def test_it_is_pytorchs_convolution(
    images: int,
    height: int,
    width: int,
    inputs: int,
    outputs: int,
    kernel: int,
    share: float,
    single: bool,
) -> None:
    """Maps smaller than the kernel, channels that fill no vector, silence, nothing but spikes.

    However many spikes there are, the list may have to do.
    """
    dtype, rounding = (torch.float32, 1e-3) if single else (torch.float64, 1e-10)
    x = spikes(images, inputs, height, width, share=share, dtype=dtype)
    convolution = layer(inputs, outputs, kernel, dtype=dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spike_convolution, "LIMIT", 1.0)
        patch.setattr(spike_convolution, "OUTPUTS", 1)
        assert spike_convolution.prepare(convolution, x) is not None
        wanted, found = both(convolution, x)
    for one, other, name in zip(found, wanted, RESULTS, strict=True):
        torch.testing.assert_close(one, other, rtol=rounding, atol=rounding, msg=name)


@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
@pytest.mark.parametrize("size", [(40, 9, 9), (2, 50, 30), (1, 3, 400)], ids=str)
def test_maps_that_take_several_turns(size: tuple[int, int, int], kernel: int) -> None:
    """More images than lie in the nearest cache at once, an image that does not, and a row."""
    images, height, width = size
    x = spikes(images, 3, height, width)
    convolution = layer(3, 17, kernel)
    assert spike_convolution.prepare(convolution, x) is not None
    wanted, found = both(convolution, x)
    for one, other, name in zip(found, wanted, RESULTS, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10, msg=name)


@pytest.mark.usefixtures("any_number")
def test_by_hand(listed: list[Tensor]) -> None:
    """One spike in the corner of a map: the weights around the middle, as far as there is a map."""
    convolution = layer(1, 1, 3)
    convolution.weight.data = torch.arange(9.0).view(1, 1, 3, 3).double()
    x = torch.zeros(1, 1, 3, 9).double()
    x[0, 0, 0, 0] = 1
    with torch.no_grad():
        y = convolve(convolution, x)
    assert y[0, 0, :2, :3].tolist() == [[4, 3, 0], [1, 0, 0]]
    assert y.sum() == 8
    (seen,) = listed
    assert seen.data_ptr() == x.data_ptr()


@pytest.mark.parametrize(
    ("kernel", "share", "outputs", "used"),
    [
        *((5, 0.2, 8, True), (5, 0.4, 8, False), (5, 0.4, 32, True), (5, 0.7, 32, False)),
        *((3, 0.2, 8, True), (3, 0.4, 8, False), (3, 0.4, 32, True), (3, 0.7, 32, False)),
    ],
)
def test_it_is_used_where_it_pays(
    listed: list[Tensor], kernel: int, share: float, outputs: int, used: bool
) -> None:
    """Few spikes, or many outputs for each to do; the rest is PyTorch's."""
    both(layer(8, outputs, kernel), spikes(2, 8, 12, 12, share=share))
    assert bool(listed) is used


@pytest.mark.usefixtures("any_number")
@pytest.mark.parametrize(
    "changes",
    [
        {"stride": 2},
        {"padding": 0},
        {"bias": True},
        {"groups": 2},
        {"dilation": 2},
        {"padding_mode": "circular"},
        {"kernel_size": 2},
        {"kernel_size": (3, 1)},
    ],
    ids=str,
)
def test_other_convolutions_are_pytorchs(listed: list[Tensor], changes: dict[str, Any]) -> None:
    kernel = changes.pop("kernel_size", 3)
    fields = {"padding": 1, "bias": False} | changes
    convolution = nn.Conv2d(4, 6, kernel, dtype=torch.float64, **fields)
    for one, other in zip(*both(convolution, spikes(2, 4, 6, 6)), strict=True):
        assert torch.equal(one, other)
    assert not listed


@pytest.mark.usefixtures("any_number")
@pytest.mark.parametrize("number", [0.5, -1.0, 2.0, -0.0, float("nan"), float("inf")])
@pytest.mark.parametrize("place", [0, -1])
def test_other_numbers_are_pytorchs(listed: list[Tensor], number: float, place: int) -> None:
    """The first and the last number of an input count as much as any."""
    x = spikes(2, 4, 6, 6).contiguous(memory_format=torch.channels_last)
    x.permute(0, 2, 3, 1).view(-1)[place] = number
    convolution = layer(4, 6, 3)
    with torch.no_grad():
        torch.testing.assert_close(convolve(convolution, x), convolution(x), equal_nan=True)
    assert not listed


@pytest.mark.usefixtures("any_number")
def test_a_processor_with_bfloat16_convolves_itself(
    listed: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own convolutions are quicker than a list."""
    monkeypatch.setattr(bfloat16, "native", lambda: True)
    convolution = layer(4, 6, 3, dtype=torch.float32)
    x = spikes(2, 4, 6, 6, dtype=torch.float32)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert convolve(convolution, x).dtype == torch.bfloat16
    assert not listed


@pytest.mark.usefixtures("any_number")
@pytest.mark.parametrize("frozen", ["input", "weights"])
def test_only_what_is_asked_for_is_computed(listed: list[Tensor], frozen: str) -> None:
    convolution, x = layer(4, 6, 3), spikes(2, 4, 6, 6)
    convolution.weight.requires_grad_(frozen != "weights")
    x.requires_grad_(frozen != "input")
    convolve(convolution, x).sum().backward()
    assert (x.grad is None) is (frozen == "input")
    assert (convolution.weight.grad is None) is (frozen == "weights")
    assert listed


@pytest.mark.usefixtures("any_number", "snntorch_in_float64")
@pytest.mark.parametrize("layout", ["6C3-8C3-MP2-5C5-7FC", "6C3-[5C3-6C3]-[8C3-4C1]P-GAP"])
def test_a_network_trains_the_same(listed: list[Tensor], layout: str) -> None:
    """Scores and gradients of the plan `fused` are those of `folded`; silenced spikes stay away."""
    spec = NetworkSpec(kind="snn", layout=layout, time_steps=3)
    x, found = 2 * torch.randn(4, 2, 8, 8, dtype=torch.float64), []
    for plan in ("folded", "fused"):
        network = build_network(spec, (2, 8, 8), 5, 0, Execution(plan=plan)).double()
        network.silence({"conv1": torch.arange(18).view(6, 3) % 4 != 0})
        scores = network(x)
        scores.square().sum().backward()
        assert bool(listed) is (plan == "fused")
        found.append([scores, *(p.grad for p in network.parameters())])
    assert len({x.shape for x in listed}) > 1, "several layers list their spikes"
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)
