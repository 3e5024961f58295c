"""The plan ``fused`` on a CPU: any kernel can be switched off; a layer takes four calls."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import pytest
import torch
from torch import Tensor

from pipelines.kernels.cpu import compiler, norm_scan
from pipelines.networks.initial import build_network
from pipelines.networks.network import Network
from pipelines.networks.plans.choice import choose_plan
from pipelines.networks.plans.fused_cpu import KERNELS, FusedCpu
from pipelines.settings.network import Execution, NetworkSpec
from tests.helpers.paths import ROOT

pytestmark = pytest.mark.skipif(
    not norm_scan.available(), reason="the plan 'fused' needs a C compiler"
)
LAYOUTS = {"stack": "4C3-6C3-MP2-7FC", "residual": "4C3-MP2-[5C3-4C3]-[6C3s2-5C3]-MP2-7FC"}


def network(kind: str, layout: str) -> Network:
    spec = NetworkSpec(kind=kind, layout=layout, time_steps=3, beta=0.8)  # type: ignore[arg-type]
    return build_network(spec, (1, 12, 12), 5, 0).double()


def passed(net: Network, x: Tensor) -> list[Tensor]:
    """Return scores, gradients and running statistics of a training step."""
    net.zero_grad()
    scores = net(x)
    scores.square().sum().backward()
    gradients = [p.grad.clone() for p in net.parameters() if p.grad is not None]
    return [scores.detach(), *gradients, *(b.clone() for b in net.buffers())]


@pytest.mark.usefixtures("snntorch_in_float64")
@pytest.mark.parametrize("kind", ["snn", "ann"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("off", [*sorted(KERNELS), "all"])
def test_any_kernel_can_be_switched_off(kind: str, layout: str, off: str) -> None:
    """Without kernels the plan equals `folded` to the last bit; without one, up to rounding."""
    left = KERNELS - {off} if off in KERNELS else frozenset()
    x = 2 * torch.randn(6, 1, 12, 12, dtype=torch.float64)
    wanted = passed(network(kind, LAYOUTS[layout]), x)
    net = network(kind, LAYOUTS[layout])
    found = passed(net.use(FusedCpu(net.spec, left)), x)
    tolerance = 1e-10 if left else 0.0
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


def test_an_unknown_kernel_is_refused() -> None:
    with pytest.raises(ValueError, match=r"there is no kernel \['fft'\]; there are \['grey_conv"):
        FusedCpu(network("snn", "4C3").spec, {"fft", "norm_scan"})


def test_a_plan_is_chosen_once_and_passed_to_narrowed_networks() -> None:
    net = network("snn", "4C3-6C3")
    assert net.plan is net.plan
    assert net.plan.name == "folded"
    plan = FusedCpu(net.spec, {"norm_scan"})
    assert net.use(plan).narrowed([2, 3]).plan is plan
    asked, here = Execution(plan="fused"), torch.device("cpu")
    chosen = choose_plan(asked, net.spec, here)
    assert isinstance(chosen, FusedCpu)
    assert chosen.kernels == KERNELS
    names = {p: choose_plan(Execution(plan=p), net.spec, here).name for p in ("step", "folded")}  # type: ignore[arg-type]
    assert names == {"step": "step", "folded": "folded"}


def calls(net: Network, x: Tensor) -> set[tuple[str, ...]]:
    """Return the functions of this project between a layer of the plan and compiled code."""
    found = set()

    def note(frame: FrameType | None, event: str, _: Any) -> None:
        if event != "call" or frame is None or frame.f_code is not compiler.call.__code__:
            return
        chain: list[str] = []
        while frame is not None and frame.f_code is not FusedCpu.layer.__code__:
            if frame.f_code.co_filename.startswith(str(ROOT / "pipelines")):
                chain.append(frame.f_code.co_name)
            frame = frame.f_back
        found.add(tuple(reversed(chain)))

    sys.setprofile(note)
    try:
        net(x)
    finally:
        sys.setprofile(None)
    return found


def test_a_layer_takes_four_calls() -> None:
    """The calls from the layer to the C code; a call of its own finds the spikes."""
    net = network("snn", "6C3-MP2-8C3-MP2-16FC")
    net.use(FusedCpu(net.spec))
    assert calls(net, 2 * torch.randn(6, 1, 12, 12, dtype=torch.float64)) == {
        ("norm_and_scan", "forward", "forward", "call"),
        ("norm_and_scan", "forward", "call"),
        ("prepare", "prepare", "_find", "call"),
    }
