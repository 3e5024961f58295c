"""The GPU kernels of the scan, in Triton's interpreter on a CPU, and through its compiler."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from pipelines.kernels.gpu import norm_scan, scan
from pipelines.kernels.scan import lif_scan, make_neuron
from pipelines.networks.plans.fused_gpu import FusedGpu
from pipelines.settings.network import Execution, NetworkSpec
from pipelines.training.cell import build_network
from pipelines.training.environment import environment

Call = Callable[..., Any]


def compare(
    shape: tuple[int, ...],
    steps: int,
    reset: str,
    surrogate: str,
    dtype: torch.dtype,
    tolerance: float,
) -> None:
    """Spikes and gradients of the kernels and of the scan in PyTorch; T = 1 in `shape`: static."""
    torch.set_num_threads(1)
    torch.manual_seed(steps)
    current = 2 * torch.randn(shape, dtype=torch.float64).to(dtype)
    if len(shape) == 5:
        last = current.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        current = last.unflatten(0, shape[:2])
    found = []
    for compute in (lif_scan, scan.lif_scan):
        neuron = make_neuron(0.7, True, 0.9, reset, surrogate)
        neuron = neuron.double() if dtype == torch.float64 else neuron
        x = current.clone(memory_format=torch.preserve_format).requires_grad_()
        spikes = compute(x, neuron, steps, surrogate)
        weight = torch.linspace(-1, 2, spikes.numel(), dtype=torch.float64)
        (spikes * weight.view_as(spikes).to(dtype)).sum().backward()
        found.append((spikes.detach(), x.grad, neuron.beta.grad))
    (spikes, *gradients), (own_spikes, *own_gradients) = found
    assert torch.equal(own_spikes, spikes)
    assert own_spikes.stride() == spikes.stride(), "the memory layout is kept"
    assert 0 < spikes.double().mean() < 1, "the test needs spikes and silence"
    for own, wanted in zip(own_gradients, gradients, strict=True):
        torch.testing.assert_close(own, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("reset", ["zero", "subtract"])
@pytest.mark.parametrize("surrogate", ["atan", "fast_sigmoid"])
@pytest.mark.parametrize(
    ("shape", "steps"),
    [((1, 3, 5), 1), ((2, 3, 5), 2), ((7, 2, 4, 3, 3), 7), ((1, 3, 6), 5), ((4, 9, 300), 4)],
)
def test_the_kernels_equal_the_scan(
    interpreted: Call, reset: str, surrogate: str, shape: tuple[int, ...], steps: int
) -> None:
    """The last shape fills two blocks and a part of a third."""
    interpreted(compare, shape, steps, reset, surrogate, torch.float64, 1e-12)


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float32, 1e-4), (torch.float16, 2e-3), (torch.bfloat16, 2e-2)],
)
def test_number_formats(interpreted: Call, dtype: torch.dtype, tolerance: float) -> None:
    interpreted(compare, (4, 2, 5, 3, 3), 4, "zero", "atan", dtype, tolerance)


def small_steps() -> list[float]:
    x = torch.full((16, 1, 1), 2**-10, dtype=torch.bfloat16)
    x[0] = 1.0
    return scan.lif_scan(x, make_neuron(1.0, False, 1.0, "zero", "atan"), 16, "atan").tolist()


def test_the_state_is_kept_in_float32(interpreted: Call) -> None:
    """In bfloat16, 1 + 2^-10 is 1, which is not above the threshold."""
    assert interpreted(small_steps)[:3] == [[[0.0]], [[1.0]], [[0.0]]]


def noted(names: list[str], function: Call, *given: Any) -> Any:
    """Call a function, and note its name."""
    names.append(function.__name__)
    return function(*given)


def train_both() -> list[list[torch.Tensor]]:
    """Gradients of a network of the plans folded and fused, the latter with the kernels."""
    torch.set_num_threads(1)
    spec = NetworkSpec(kind="snn", layout="4C3-MP2-[4C3]-7FC", time_steps=3, beta=0.8)
    nets = [
        build_network(spec, (2, 6, 6), 5, 0, Execution(plan=plan)).double()
        for plan in ("folded", "fused")
    ]
    nets[1].use(FusedGpu(spec))
    x = 2 * torch.randn(6, 2, 6, 6, dtype=torch.float64)
    found: list[Any] = []
    used: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        for module, name in ((scan, "lif_scan"), (norm_scan, "norm_and_scan")):
            patch.setattr(module, name, partial(noted, used, getattr(module, name)))
        for net in nets:
            net(x).square().sum().backward()
            found.append([p.grad for p in net.parameters()])
    assert used == ["lif_scan", "lif_scan", "norm_and_scan"], "two of the layers have a shortcut"
    return found


def test_the_plan_fused_uses_them(interpreted: Call) -> None:
    for wanted, own in zip(*interpreted(train_both), strict=True):
        torch.testing.assert_close(own, wanted, rtol=1e-10, atol=1e-10)


def assemble(kernel: str, static: bool, pointer: str) -> bytes:
    """Machine code of a kernel for an A100, which needs no GPU."""
    import triton
    from triton import language
    from triton.backends.compiler import GPUTarget

    from pipelines.kernels.gpu import scan_triton as triton_kernels

    function = getattr(triton_kernels, kernel)
    fixed = {"STEPS": 4, "STATIC": static, "SUBTRACT": not static, "BLOCK": 1024}
    fixed |= {"STATE": language.float64 if pointer == "*fp64" else language.float32}
    if kernel == "backward":
        fixed |= {"FAST_SIGMOID": static, "STEEPNESS": 3.0}
    state = "*fp64" if pointer == "*fp64" else "*fp32"
    kinds = {"units": "i32", "decay": state, "threshold": state, "of_decay": state}
    names = function.arg_names
    source = triton.compiler.ASTSource(
        fn=function,
        signature={n: "constexpr" if n in fixed else kinds.get(n, pointer) for n in names},
        constexprs={(names.index(name),): value for name, value in fixed.items()},
    )
    code: bytes = triton.compile(source, target=GPUTarget("cuda", 80, 32)).asm["cubin"]
    return code


@pytest.mark.parametrize("kernel", ["forward", "backward"])
@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize("pointer", ["*fp32", "*bf16", "*fp64"])
def test_they_compile_for_a_gpu(
    triton: None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    kernel: str,
    static: bool,
    pointer: str,
) -> None:
    """The interpreter takes more than the compiler does."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    assert assemble(kernel, static, pointer).startswith(b"\x7fELF")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("steps", [1, 8, scan.LONGEST])
def test_on_a_gpu(triton: None, steps: int) -> None:
    neuron = make_neuron(0.7, True, 0.9, "zero", "atan").cuda()
    current = 2 * torch.randn(steps, 64, 16, 9, 9, device="cuda")
    found = []
    for compute in (lif_scan, scan.lif_scan):
        neuron.zero_grad()
        x = current.clone().requires_grad_()
        compute(x, neuron, steps, "atan").square().sum().backward()
        found.append((x.grad, neuron.beta.grad))
    (wanted, of_decay), (own, own_of_decay) = found
    assert (own - wanted).abs().gt(1e-3).double().mean() < 1e-4, "but for those at the threshold"
    torch.testing.assert_close(own_of_decay, of_decay, rtol=1e-2, atol=1e-2)


def test_elsewhere_the_scan_in_pytorch_is_used() -> None:
    assert not scan.available(torch.device("cpu"), 4)
    assert not scan._works(torch.device("cpu")), "not interpreted, a CPU cannot run kernels"


def test_a_record_says_which_plan_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    """`fused` needs a C compiler or, for leaky neurons of so many steps, Triton."""
    monkeypatch.setattr("pipelines.kernels.cpu.norm_scan.available", lambda: False)
    monkeypatch.setattr(scan, "available", lambda device, steps: steps <= 4)
    ann = NetworkSpec(kind="ann", layout="4C3")
    snn = NetworkSpec(kind="snn", layout="4C3", time_steps=4)
    long = snn.model_copy(update={"time_steps": 5})
    synaptic = snn.model_copy(update={"neuron": "synaptic"})
    asked, here = Execution(plan="fused"), torch.device("cpu")
    plans = [environment(1, asked, here, net).plan for net in (ann, snn, long, synaptic)]
    assert plans == ["folded", "fused", "folded", "folded"]
