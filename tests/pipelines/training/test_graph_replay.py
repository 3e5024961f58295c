"""Replayed training steps: the same as others, on the one device that has them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from baselines.shared.activity import Activity, Unwritten
from pipelines.networks.network import Network
from pipelines.settings.network import Execution, NetworkSpec
from pipelines.training import graph_replay
from pipelines.training.cell import build_network, build_structure
from pipelines.training.graph_replay import WARM, ForwardPass
from pipelines.training.machine import find_device

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


def network(device: str = "cpu", **execution: Any) -> Network:
    spec = NetworkSpec(kind="snn", layout="8C3-MP2-16C3-24FC", time_steps=3)
    net = build_network(spec, (1, 8, 8), 5, 0, Execution(**execution)).to(find_device(device))
    return net.train()


def batch(number: int, size: int = 16) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(number)
    inputs = 2 * torch.randn(size, 1, 8, 8, generator=generator)
    return inputs, torch.randint(5, (size,), generator=generator)


def test_on_a_cpu_every_step_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_replay, "_Recorded", None)  # would raise
    ahead, net = ForwardPass("cross-entropy"), network()
    for number in range(WARM + 3):
        inputs, labels = batch(number)
        loss, _ = ahead(net, inputs, labels)
        assert torch.equal(loss, torch.nn.functional.cross_entropy(net(inputs), labels))


@pytest.mark.parametrize("plan", ["step", "folded", "fused"])
def test_activity_keeps_no_graph_alive(plan: str) -> None:
    loss, activity = ForwardPass("mse")(network(plan=plan), *batch(0))
    assert loss.requires_grad
    for received, sent in activity.values():
        maps = sent.maps() if isinstance(sent, Unwritten) else sent
        assert not received.requires_grad
        assert not maps.requires_grad


def train(plan: str, precision: str, *, enabled: bool) -> dict[str, Any]:
    """Some steps with a penalty, tensors that somebody keeps, and batches of two sizes."""
    net = network("cuda", plan=plan, precision=precision)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
    ahead = ForwardPass("cross-entropy", enabled=enabled)
    losses, maps, kept = [], [], []

    def step(inputs: Tensor, labels: Tensor) -> None:
        loss, activity = ahead(net, inputs, labels)
        seen = Activity(activity)
        kept.extend(seen.sent(name) for name in ("conv1", "conv2", "fc1"))
        maps.append(seen["conv1"][1].sum())
        optimizer.zero_grad()
        (loss + 0.01 * net.readout.weight.square().sum()).backward()
        optimizer.step()
        losses.append(loss.detach())

    for number in range(3 * WARM):
        if number == 2 * WARM:
            net.load_state_dict({n: 0.9 * v for n, v in net.state_dict().items()})
        step(*(v.cuda() for v in batch(number, 7 if number % 5 == 4 else 16)))
    assert (ahead.recorded is not None) == enabled
    return dict(net.state_dict()) | {"losses": losses, "sums": kept, "maps": maps}


@needs_gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("plan", ["folded", "fused"])
def test_replayed_steps_are_the_same(
    plan: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the last bit: losses, weights, statistics, and what a method has kept of each step."""
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    computed, replayed = (train(plan, precision, enabled=e) for e in (False, True))
    for name, value in computed.items():
        torch.testing.assert_close(replayed[name], value, rtol=0, atol=0, msg=name)


@needs_gpu
@pytest.mark.filterwarnings("error")
def test_a_network_whose_units_were_found_is_recorded() -> None:
    """Looking for them runs a pass, whose graph must not be there any more."""
    net, ahead = network("cuda"), ForwardPass("cross-entropy")
    assert build_structure(net, "structured").groups
    for number in range(WARM + 3):
        net.zero_grad()
        ahead(net, *(v.cuda() for v in batch(number, 7 if number % 5 == 4 else 16)))[0].backward()
    assert ahead.enabled
    assert ahead.recorded is not None


@needs_gpu
def test_another_network_is_recorded_anew() -> None:
    ahead, nets = ForwardPass("cross-entropy"), [network("cuda"), network("cuda")]
    inputs, labels = (v.cuda() for v in batch(0))
    for net in nets:
        for _ in range(WARM + 2):
            net.zero_grad()
            ahead(net, inputs, labels)[0].backward()
        assert ahead.network is net
        assert ahead.recorded is not None
        assert all(p.grad is not None for p in net.parameters())


@needs_gpu
def test_what_cannot_be_recorded_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    net, ahead = network("cuda"), ForwardPass("cross-entropy")
    record = net.record

    def waits(inputs: Tensor) -> Any:
        inputs.sum().item()
        return record(inputs)

    monkeypatch.setattr(net, "record", waits)
    for number in range(WARM + 3):
        inputs, labels = (v.cuda() for v in batch(number))
        net.zero_grad()
        ahead(net, inputs, labels)[0].backward()
    assert not ahead.enabled
    assert torch.rand(8, device="cuda").unique().numel() > 1, "random numbers are drawn as before"
