"""Batch norm, scan and pooling on a GPU: interpreted on a CPU, and through the compiler."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipelines.kernels.batch_norm import Norm
from pipelines.kernels.gpu import norm_scan
from pipelines.kernels.scan import lif_scan, make_neuron

Call = Callable[..., Any]
Shape = tuple[int, ...]


def one_after_the_other(
    current: Tensor, norm: Norm, neuron: nn.Module, steps: int, surrogate: str, window: int
) -> tuple[Tensor, Tensor]:
    """Pooled spikes and spikes, as PyTorch and the scan in PyTorch have them."""
    normed = norm(current.flatten(0, 1)).unflatten(0, current.shape[:2])
    maps = lif_scan(normed, neuron, steps, surrogate)
    if window == 1:
        return maps, maps
    pooled = nn.MaxPool2d(window)(maps.flatten(0, 1))
    return pooled.unflatten(0, maps.shape[:2]), maps


def run(
    at_once: bool, x: Tensor, steps: int, window: int, reset: str, surrogate: str, training: bool
) -> dict[str, Tensor]:
    """All that is computed, forward and backward."""
    torch.manual_seed(1)
    kind, channels = torch.promote_types(x.dtype, torch.float32), x.shape[2]
    norm = (nn.BatchNorm2d if x.dim() == 5 else nn.BatchNorm1d)(channels, device=x.device).to(kind)
    with torch.no_grad():
        for parameter in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            parameter.copy_(torch.rand(channels) + 0.3)
    norm.train(training)
    neuron = make_neuron(0.7, True, 0.9, reset, surrogate).to(x.device, kind)
    inputs = x.clone().requires_grad_()
    if at_once:
        pooled, sent = norm_scan.norm_and_scan(1 * inputs, norm, neuron, steps, surrogate, window)
        maps = sent.maps()
        assert window == 1 or torch.equal(sent.sums, maps.to(kind).sum((3, 4)))
    else:
        pooled, maps = one_after_the_other(1 * inputs, norm, neuron, steps, surrogate, window)
    weight = torch.linspace(-1, 2, pooled.numel(), dtype=torch.float64, device=x.device)
    (pooled * weight.view_as(pooled).to(x.dtype)).sum().backward()
    gradients = {f"gradient of {n}": p.grad for n, p in norm.named_parameters()}
    found = {"pooled": pooled.detach(), "maps": maps.detach(), "gradient": inputs.grad}
    return found | gradients | {"of beta": neuron.beta.grad} | dict(norm.named_buffers())


def compare(
    shape: Shape,
    steps: int,
    window: int,
    *,
    reset: str = "zero",
    surrogate: str = "atan",
    training: bool = True,
    dtype: torch.dtype = torch.float64,
    tolerance: float = 1e-10,
    device: str = "cpu",
) -> None:
    """All of it at once, and one after the other; T = 1 in `shape`: a static input."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    x = (2 * torch.randn(shape, dtype=torch.float64) - 0.3).to(device, dtype)
    wanted, found = (
        run(at_once, x, steps, window, reset, surrogate, training) for at_once in (False, True)
    )
    assert 0 < wanted["maps"].double().mean() < 1, "the test needs spikes and silence"
    for name, value in found.items():
        torch.testing.assert_close(value, wanted[name], rtol=tolerance, atol=tolerance, msg=name)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("shape", "steps", "window"),
    [
        ((3, 3, 5, 6, 4), 3, 2),
        ((1, 3, 5, 6, 4), 3, 2),
        ((1, 2, 3, 4, 4), 1, 2),
        ((2, 2, 3, 6, 6), 2, 3),
        ((3, 2, 7, 3, 3), 3, 1),
        ((1, 2, 7, 3, 3), 3, 1),
        ((3, 5, 9), 3, 1),
        ((2, 3, 70, 4, 4), 2, 2),
        ((3, 4, 1, 2, 2), 3, 2),
        ((32, 2, 3, 2, 2), 32, 2),
    ],
)
def test_it_equals_one_after_the_other(
    interpreted: Call, shape: Shape, steps: int, window: int, training: bool
) -> None:
    """Pooled or not, static or not; more channels than a program takes; all bits of a number."""
    interpreted(compare_with, shape, steps, window, {"training": training})


@pytest.mark.parametrize("reset", ["zero", "subtract"])
@pytest.mark.parametrize("surrogate", ["atan", "fast_sigmoid"])
def test_neurons(interpreted: Call, reset: str, surrogate: str) -> None:
    options = {"reset": reset, "surrogate": surrogate}
    interpreted(compare_with, (4, 2, 5, 4, 4), 4, 2, options)


@pytest.mark.parametrize("window", [1, 2])
def test_more_windows_than_programs(interpreted: Call, window: int) -> None:
    """Each program goes on to further windows."""
    interpreted(compare_few_programs, (2, 3, 40, 8, 8), 2, window)


def test_float32(interpreted: Call) -> None:
    options = {"dtype": torch.float32, "tolerance": 2e-4}
    interpreted(compare_with, (3, 3, 5, 6, 4), 3, 2, options)


def compare_with(shape: Shape, steps: int, window: int, options: dict[str, Any]) -> None:
    compare(shape, steps, window, **options)


def compare_few_programs(shape: Shape, steps: int, window: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(norm_scan, "PROGRAMS", 2)
        patch.setattr(norm_scan, "UNITS", 64)
        compare(shape, steps, window)


def bfloat16() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    torch.manual_seed(0)
    x = (2 * torch.randn(3, 3, 5, 6, 4)).bfloat16()
    rounded, exact = (run(True, v, 3, 2, "zero", "atan", True) for v in (x, x.float()))
    return rounded, exact


def test_bfloat16_is_that_of_the_input_alone(interpreted: Call) -> None:
    """Norm, potentials and sums are computed as for float32; only what is stored is rounded."""
    rounded, exact = interpreted(bfloat16)
    assert rounded["pooled"].dtype == torch.bfloat16
    assert torch.equal(rounded["pooled"].float(), exact["pooled"])
    torch.testing.assert_close(rounded["gradient"].float(), exact["gradient"], rtol=2e-2, atol=1e-3)
    assert torch.equal(rounded["running_mean"], exact["running_mean"])


def assemble(kernel: str, window: int, static: bool, sums: bool, pointer: str) -> bytes:
    """Machine code of a kernel for an A100, which needs no GPU."""
    import triton
    from triton import language
    from triton.backends.compiler import GPUTarget

    from pipelines.kernels.gpu import norm_triton as triton_norm_kernels
    from pipelines.kernels.gpu import window_triton as triton_window_kernels

    function = getattr(triton_norm_kernels, kernel, None) or getattr(triton_window_kernels, kernel)
    possible = {"STEPS": 4, "STATIC": static, "SUBTRACT": static, "WINDOW": window, "SUMS": sums}
    possible |= {"STATE": language.float32, "ROWS": 4, "COLUMNS": 16, "FAST_SIGMOID": static}
    possible |= {"STEEPNESS": 3.0, "MOMENTUM": 0.1, "EPSILON": 1e-5, "TRAINING": sums, "BLOCK": 64}
    names = function.arg_names
    fixed = {name: possible[name] for name in names if name.isupper()}
    kinds = dict.fromkeys(("x", "spikes", "gradient", "out"), pointer)
    integers = ("positions", "channels", "programs", "number", "images", "high", "wide", "windows")
    kinds |= dict.fromkeys(integers, "i32")
    source = triton.compiler.ASTSource(
        fn=function,
        signature={n: "constexpr" if n in fixed else kinds.get(n, "*fp32") for n in names},
        constexprs={(names.index(name),): value for name, value in fixed.items()},
    )
    code: bytes = triton.compile(source, target=GPUTarget("cuda", 80, 32)).asm["cubin"]
    return code


@pytest.mark.parametrize("pointer", ["*fp32", "*bf16"])
@pytest.mark.parametrize(
    ("kernel", "window", "static", "sums"),
    [
        *(("backward", w, s, k) for w in (1, 2) for s in (True, False) for k in (True, False)),
        *(("forward", w, s, False) for w in (1, 2) for s in (True, False)),
        ("statistics", 1, False, False),
        ("prepare", 1, False, True),
        ("settle", 1, False, True),
    ],
)
def test_they_compile_for_a_gpu(
    triton: None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    kernel: str,
    window: int,
    static: bool,
    sums: bool,
    pointer: str,
) -> None:
    """The interpreter takes more than the compiler does."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    assert assemble(kernel, window, static, sums, pointer).startswith(b"\x7fELF")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize(("shape", "window"), [((3, 9, 40, 8, 8), 2), ((1, 9, 40, 8, 8), 1)])
def test_on_a_gpu(triton: None, shape: Shape, window: int) -> None:
    compare(shape, 3, window, tolerance=1e-8, device="cuda")
