"""Plans: all compute the same function as single steps by snnTorch."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from baselines.shared.activity import Activity, Unwritten
from pipelines.kernels.cpu import compiler, norm_scan
from pipelines.kernels.scan import lif_scan, make_neuron
from pipelines.networks.initial import build_network
from pipelines.networks.network import Network
from pipelines.settings.network import Execution, NetworkSpec
from pipelines.training.machine import keep_freed_memory

LAYOUT = "4C3-MP2-6C5-AP2-5C3-7FC-9FC"
#: A stem whose current is pooled for an identity shortcut, one more identity shortcut, projections
#: with and without a stride, and overlapping pooling windows.
RESIDUAL = "4C3-MP2-[5C3-4C3]-[4C3]-[6C3s2-5C3]-MP3s2-[6C1-7C3]P-GAP-9FC"
needs_compiler = pytest.mark.skipif(
    not norm_scan.available(), reason="the plan 'fused' needs a C compiler"
)


@pytest.fixture
def fresh_library() -> Iterator[None]:
    """Unload the compiled library before and after the test."""
    compiler.library.cache_clear()
    yield
    compiler.library.cache_clear()


def networks(*plans: str, **fields: object) -> list[Network]:
    """The same network with several plans, and running statistics with which neurons fire."""
    fields = {"kind": "snn", "layout": LAYOUT, "time_steps": 3, "beta": 0.8} | fields
    spec = NetworkSpec(**fields)
    nets = [build_network(spec, (2, 9, 9), 5, 0, Execution(plan=plan)).double() for plan in plans]
    torch.manual_seed(0)
    for _ in range(40):
        nets[0](2 * torch.randn(16, 2, 9, 9).double())
    for net in nets[1:]:
        net.load_state_dict(nets[0].state_dict())
    return nets


def everything(net: Network, x: Tensor) -> dict[str, Tensor]:
    """Return scores, activity, gradients and running statistics of one pass."""
    net.zero_grad()
    x = x.clone().requires_grad_()
    scores, activity = net.run(x)
    scores.square().sum().backward()
    assert x.grad is not None
    found = {"scores": scores, "input gradient": x.grad}
    for name, (pre, post) in activity.items():
        found |= {f"{name} input": pre.expand(max(len(post), len(pre)), *pre.shape[1:])}
        found |= {f"{name} output": post}
    found |= {f"gradient of {name}": p.grad for name, p in net.named_parameters()}  # type: ignore[dict-item]
    return found | {name: b.clone() for name, b in net.named_buffers() if "running" in name}


def same(nets: list[Network], x: Tensor) -> None:
    """Require that all networks compute the same."""
    first, *others = (everything(net, x) for net in nets)
    assert 0 < first["conv2 output"].mean() < 1, (
        "without spikes and silent units the test shows little"
    )
    for other in others:
        for name, value in other.items():
            wanted = first[name].expand_as(value)
            torch.testing.assert_close(value, wanted, rtol=1e-10, atol=1e-10, msg=name)


@pytest.mark.usefixtures("snntorch_in_float64")
@needs_compiler
@pytest.mark.parametrize("reset", ["zero", "subtract"])
@pytest.mark.parametrize("surrogate", ["atan", "fast_sigmoid"])
@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize("layout", [LAYOUT, RESIDUAL], ids=["stack", "residual"])
def test_plans_agree_in_evaluation(reset: str, surrogate: str, static: bool, layout: str) -> None:
    nets = networks("step", "folded", "fused", reset=reset, surrogate=surrogate, layout=layout)
    x = torch.randn(4, 2, 9, 9) if static else torch.randn(3, 4, 2, 9, 9)
    for net in nets:
        net.eval()  # in training, the batch norm of 'step' is per time step, a different function
        net.silence({"conv1": torch.arange(12).view(4, 3) % 5 != 0})
    same(nets, 2 * x.double())


@pytest.mark.usefixtures("snntorch_in_float64")
@needs_compiler
@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize("layout", [LAYOUT, RESIDUAL], ids=["stack", "residual"])
def test_fused_equals_folded_in_training(static: bool, layout: str) -> None:
    nets = networks("folded", "fused", layout=layout)
    x = torch.randn(6, 2, 9, 9) if static else torch.randn(3, 6, 2, 9, 9)
    same(nets, 2 * x.double())


@needs_compiler
@pytest.mark.parametrize("channels", [1, 10, 5000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_any_number_of_channels(channels: int, dtype: torch.dtype) -> None:
    """One channel, a partial tile, and more channels than a tile has."""
    torch.manual_seed(0)
    x = 2 * torch.randn(2, 9, channels, dtype=torch.float64).to(dtype)
    norm, neuron = nn.BatchNorm1d(channels).to(dtype), make_neuron(0.7, True, 1.0, "zero", "atan")
    wanted = lif_scan(norm(x.flatten(0, 1)).unflatten(0, (2, 9)), neuron, 2, "atan")
    found, _ = norm_scan.norm_and_scan(x, norm, neuron, 2, "atan")
    assert (found != wanted).double().mean() < 1e-4, "only potentials at the threshold may differ"


@needs_compiler
@pytest.mark.parametrize("window", [1, 2, 3])
@pytest.mark.parametrize("channels", [1, 2, 4, 6, 8, 12, 19, 40])
@pytest.mark.parametrize(("given", "steps"), [(1, 3), (3, 3), (1, 1)])
def test_a_scan_that_pools(window: int, channels: int, given: int, steps: int) -> None:
    """Spikes, their counts and all gradients, for full and partial vectors of channels."""
    torch.manual_seed(0)
    x = 2 * torch.randn(given, 5, channels, 6, 12, dtype=torch.float64)
    results = []
    for fuse in (False, True):
        torch.manual_seed(1)
        norm, neuron = (
            nn.BatchNorm2d(channels).double(),
            make_neuron(0.7, True, 1.0, "zero", "atan"),
        )
        neuron.double()
        inputs = x.clone().requires_grad_()
        current = 1.0 * inputs
        if fuse:
            pooled, sent = norm_scan.norm_and_scan(current, norm, neuron, steps, "atan", window)
            maps = sent.maps()
            assert window == 1 or torch.equal(sent.sums, maps.sum((3, 4)))
        else:
            normed = norm(current.flatten(0, 1)).unflatten(0, (given, 5))
            maps = lif_scan(normed, neuron, steps, "atan")
            pooled = nn.MaxPool2d(window)(maps.flatten(0, 1)).unflatten(0, (steps, 5))
        (pooled * torch.randn(pooled.shape)).sum().backward()  # gradient of another memory format
        results.append([pooled, maps, inputs.grad, norm.weight.grad, norm.bias.grad])
        results[-1].append(neuron.beta.grad)
    assert 0 < results[0][0].mean() < 1
    for wanted, found in zip(*results, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)


@needs_compiler
def test_the_gradient_overwrites_the_input() -> None:
    """Later uses of the input raise an error instead of reading wrong values."""
    current = torch.randn(2, 4, 3, 6, 6, requires_grad=True) * 1
    norm, neuron = nn.BatchNorm2d(3), make_neuron(0.7, True, 1.0, "zero", "atan")
    pooled, sent = norm_scan.norm_and_scan(current, norm, neuron, 2, "atan", 2)
    pooled.sum().backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        pooled.sum().backward()
    with pytest.raises(RuntimeError, match="before the backward pass"):
        sent.maps()


@needs_compiler
@pytest.mark.usefixtures("snntorch_in_float64")
def test_feature_maps_are_recomputed_on_demand() -> None:
    spec = NetworkSpec(kind="snn", layout="4C3-MP2-6C5-7FC", time_steps=3, beta=0.8)
    net = build_network(spec, (2, 8, 8), 5, 0, Execution(plan="fused")).double()
    x = 2 * torch.randn(6, 2, 8, 8).double()
    pairs = net.record(x)[1]
    assert isinstance(pairs["conv1"][1], Unwritten)
    found, wanted = Activity(pairs), Activity(net.run(x)[1])
    assert wanted["conv1"][1].shape == (3, 6, 4, 8, 8)
    assert wanted["conv1"][1].any()
    for layer in wanted:
        for one, other in zip(found[layer], wanted[layer], strict=True):
            assert torch.equal(one, other)
        for one, other in zip(found.units(layer), wanted.units(layer), strict=True):
            assert torch.equal(one, other)


@pytest.mark.usefixtures("fresh_library")
@pytest.mark.parametrize("compiler", ["/bin/false", "/nowhere/cc", ""])
def test_without_a_compiler_fused_equals_folded(
    compiler: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CC", compiler)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert not norm_scan.available()
    folded, other = networks("folded", "fused")
    x = torch.randn(4, 2, 9, 9).double()
    assert torch.equal(folded(x), other(x))


@pytest.mark.slow
@pytest.mark.usefixtures("fresh_library")
@needs_compiler
def test_the_library_is_compiled_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert norm_scan.available()
    (made,) = (tmp_path / "dpap-bench").iterdir()
    compiler.library.cache_clear()
    monkeypatch.setattr(compiler.subprocess, "run", None)
    assert norm_scan.available()
    assert list(made.parent.iterdir()) == [made]


@pytest.mark.parametrize("plan", ["folded", pytest.param("fused", marks=needs_compiler)])
def test_the_state_is_kept_in_float32(plan: str) -> None:
    """400 small inputs sum up to the threshold; in bfloat16 the sum would stop at 0.5."""
    steps, neuron = 400, make_neuron(1.0, False, 1.0, "zero", "atan")
    x = torch.full((steps, 2, 3), 2**-8, dtype=torch.bfloat16, requires_grad=True)
    if plan == "folded":
        spikes = lif_scan(x, neuron, steps, "atan")
    else:
        norm = nn.BatchNorm1d(3).eval()
        norm.eps = 0.0
        spikes, _ = norm_scan.norm_and_scan(x, norm, neuron, steps, "atan")
    assert spikes.dtype == torch.bfloat16
    assert spikes.sum(0).tolist() == [[1.0] * 3] * 2
    spikes.sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == torch.bfloat16
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("plan", ["step", "folded", pytest.param("fused", marks=needs_compiler)])
@pytest.mark.parametrize("layout", [LAYOUT, RESIDUAL], ids=["stack", "residual"])
def test_half_precision_trains_float32_weights(plan: str, layout: str) -> None:
    spec = NetworkSpec(kind="snn", layout=layout, time_steps=3)
    net = build_network(spec, (2, 9, 9), 5, 0, Execution(plan=plan, precision="bfloat16"))
    x, labels = torch.randn(16, 2, 9, 9), torch.arange(16) % 5
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        scores, activity = net.run(x)
        assert scores.dtype == torch.float32
        if plan != "step":  # the spikes of snnTorch are float32
            assert activity["conv2"][0].dtype == torch.bfloat16
        loss = nn.functional.cross_entropy(scores, labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    assert all(p.dtype == torch.float32 for p in net.parameters())


def test_freed_memory_is_kept_with_glibc() -> None:
    assert keep_freed_memory() is (platform.libc_ver()[0] == "glibc")
