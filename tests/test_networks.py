"""Layouts, and the folded network against stepping it with snnTorch."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from pipelines.core.cell import build_network
from pipelines.core.cost import ActivityCounter, operations, timestep_sparsity
from pipelines.core.layouts import NetworkSpec
from pipelines.core.networks import READOUT, Network
from pipelines.core.tokens import parse_layout

LAYOUT = "4C3-MP2-6C5-AP2-7FC"


def network(kind: str = "snn", steps: int = 3, layout: str = LAYOUT, **fields: object) -> Network:
    spec = NetworkSpec(kind=kind, layout=layout, time_steps=steps, beta=0.8, **fields)
    return build_network(spec, (2, 8, 8), 5, seed=0)


def settle(net: Network) -> None:
    """Give batch norm statistics that make neurons fire."""
    torch.manual_seed(0)
    for _ in range(40):
        net(2 * torch.randn(16, 2, 8, 8, dtype=next(net.parameters()).dtype))


def stepped(net: Network, x: Tensor) -> Tensor:
    membranes: dict[str, Tensor] = {}
    frames = x if x.dim() == 5 else x.expand(net.steps, *x.shape)
    return torch.stack([net.step(frame, membranes) for frame in frames]).mean(0)


@pytest.mark.usefixtures("snntorch_in_float64")
@pytest.mark.parametrize("reset", ["zero", "subtract"])
@pytest.mark.parametrize("static", [True, False])
def test_folded_equals_stepping(reset: str, static: bool) -> None:
    net = network(reset=reset).double()
    settle(net)
    net.eval()  # batch norm per step and pooled over steps agree here
    x = torch.randn(4, 2, 8, 8) if static else torch.randn(3, 4, 2, 8, 8)
    gradients = []
    for forward in (net, lambda v: stepped(net, v)):
        net.zero_grad()
        inputs = x.double().requires_grad_()
        scores = forward(inputs)
        scores.square().sum().backward()
        gradients.append([scores, inputs.grad, *(p.grad.clone() for p in net.parameters())])
    assert bool(net.run(x.double())[1]["conv2"][1].any()), "the test needs spikes"
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_artificial_network_is_one_step_of_relu() -> None:
    net = network("ann").double()
    settle(net)
    net.eval()
    x = torch.randn(4, 2, 8, 8, dtype=torch.double)
    torch.testing.assert_close(net(x), net.step(x, {}), rtol=1e-12, atol=1e-12)
    assert net.steps == 1


def test_samples_do_not_leak_into_each_other() -> None:
    net = network()
    settle(net)
    net.eval()
    x = torch.randn(6, 2, 8, 8)
    together = net(x)
    net(10 * torch.randn(6, 2, 8, 8))
    torch.testing.assert_close(torch.cat([net(x[:1]), net(x[1:])]), together)


def test_activity_has_every_layer_and_its_shapes() -> None:
    net = network()
    scores, activity = net.run(torch.randn(4, 2, 8, 8))
    shapes = {name: (tuple(a.shape), tuple(b.shape)) for name, (a, b) in activity.items()}
    assert shapes == {
        "conv1": ((1, 4, 2, 8, 8), (3, 4, 4, 8, 8)),
        "conv2": ((3, 4, 4, 4, 4), (3, 4, 6, 4, 4)),
        "fc1": ((3, 4, 24), (3, 4, 7)),
        READOUT: ((3, 4, 7), (1, 4, 5)),
    }
    assert scores.shape == (4, 5)


def test_same_seed_same_network_and_global_random_state_untouched() -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    one, two = network(), network()
    assert torch.equal(torch.random.get_rng_state(), before)
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("layout", "reason"),
    [
        ("16C3-XX", "none of nCk"),
        ("0C3", "none of nCk"),
        ("MP2-16C3", "must follow a convolution"),
        ("16C3-8FC-16C3", "follows a linear layer"),
        ("16C3-8FC-MP2", "follows a linear layer"),
        ("", "none of nCk"),
    ],
)
def test_bad_layouts_say_why(layout: str, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        NetworkSpec(kind="ann", layout=layout)


def test_too_much_pooling_says_why() -> None:
    with pytest.raises(ValueError, match="leaves no map"):
        network(layout="4C3-MP2-4C3-MP2-4C3-MP2-4C3-MP2")


def test_layout_round_trip() -> None:
    assert network().layout == LAYOUT
    assert [t.kind for t in parse_layout(LAYOUT)] == ["conv", "max", "conv", "avg", "fc"]


def test_silenced_time_steps_never_spike_and_cost_no_synops() -> None:
    net = network()
    settle(net)
    net.eval()
    x = torch.randn(8, 2, 8, 8)
    free = net.run(x)[1]
    gate = torch.ones(4, 3, dtype=torch.bool)
    gate[0, 1] = gate[2, 0] = gate[2, 2] = False
    net.silence({"conv1": gate})
    gated = net.run(x)[1]
    spikes, before = gated["conv1"][1], free["conv1"][1]
    assert before[1, :, 0].any(), "the test needs spikes to silence"
    assert not spikes[1, :, 0].any()
    assert not spikes[[0, 2], :, 2].any()
    assert torch.equal(spikes[:, :, [1, 3]], before[:, :, [1, 3]]), "other units are untouched"
    counted = []
    for activity in (free, gated):
        counter = ActivityCounter(3)
        counter.add(activity)
        counted.append(operations(net, counter)["conv2"][2])
    assert counted[1] < counted[0]
    assert timestep_sparsity(net) == 3 / ((4 + 6 + 7) * 3)


def test_silenced_units_pass_no_gradient() -> None:
    net = network()
    settle(net)
    net.silence({"fc1": torch.zeros(7, 3, dtype=torch.bool)})
    net(torch.randn(4, 2, 8, 8)).square().sum().backward()
    gradient = net.get_parameter("conv1.weight").grad
    assert gradient is None or not bool(gradient.any())


def parameters_of(layout: str, shape: tuple[int, int, int]) -> int:
    spec = NetworkSpec(kind="snn", layout=layout, time_steps=2)
    return sum(p.numel() for p in Network(spec, shape, 10).parameters())


def test_networks_of_papers() -> None:
    """Parameter counts that papers print, or that follow from their layers."""
    assert round(parameters_of("6Conv2FC", (3, 32, 32)) / 1e6, 2) == 21.36
    # DPAP, Fig. 2(c): 6.0e5 on MNIST, 7.8e5 on N-MNIST, 123e5 on DVS-Gesture (128 x 128)
    assert round(parameters_of("2Conv2FC", (1, 28, 28)) / 1e5, 1) == 6.0
    assert round(parameters_of("2Conv2FC", (2, 32, 32)) / 1e5, 1) == 7.8
    assert round(parameters_of("2Conv2FC", (2, 128, 128)) / 1e5) == 123
    # VGG16: 14.71 million weights in convolutions (arXiv 1409.1556), then 512 x 512 and batch norm
    assert round(parameters_of("VGG16", (3, 32, 32)) / 1e6, 2) == 14.99


def test_a_name_stands_for_its_layout() -> None:
    named, written = (
        NetworkSpec(kind="snn", layout=layout) for layout in ("2Conv2FC", "15C3-AP2-40C3-AP2-300FC")
    )
    assert named == written
    assert named.with_widths([3, 4, 5]).layout == "3C3-AP2-4C3-AP2-5FC"
