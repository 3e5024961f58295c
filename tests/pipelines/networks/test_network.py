"""Layouts, and all time steps at once compared with single steps by snnTorch."""

from __future__ import annotations

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from pipelines.networks.initial import build_network
from pipelines.networks.network import Network
from pipelines.networks.plans.choice import choose_plan
from pipelines.settings.layout import parse_layout
from pipelines.settings.network import READOUT, Execution, NetworkSpec
from pipelines.training.cost import ActivityCounter, operations, timestep_sparsity

LAYOUT = "4C3-MP2-6C5-AP2-7FC"
RESIDUAL = "4C3-MP2-[5C3-4C3]-[6C3s2-5C3]-[5C1-6C3]P-GAP-7FC"


def network(kind: str = "snn", steps: int = 3, layout: str = LAYOUT, **fields: object) -> Network:
    spec = NetworkSpec(kind=kind, layout=layout, time_steps=steps, beta=0.8, **fields)
    return build_network(spec, (2, 8, 8), 5, seed=0)


def settle(net: Network) -> None:
    """Give batch norm running statistics with which neurons fire."""
    torch.manual_seed(0)
    for _ in range(40):
        net(2 * torch.randn(16, 2, 8, 8, dtype=next(net.parameters()).dtype))


def stepped(net: Network, x: Tensor) -> Tensor:
    """Scores computed step by step: the mean of the readout's outputs."""
    states: dict[str, tuple[Tensor, ...]] = {}
    frames = x if x.dim() == 5 else x.expand(net.steps, *x.shape)
    return torch.stack([net.step(frame, states) for frame in frames]).mean(0)


@pytest.mark.usefixtures("snntorch_in_float64")
@pytest.mark.parametrize("reset", ["zero", "subtract"])
@pytest.mark.parametrize("static", [True, False])
def test_all_steps_at_once_equal_single_steps(reset: str, static: bool) -> None:
    net = network(reset=reset).double()
    settle(net)
    net.eval()  # in training, batch norm over all steps differs from batch norm per step
    x = torch.randn(4, 2, 8, 8) if static else torch.randn(3, 4, 2, 8, 8)
    gradients = []
    for forward in (net, lambda v: stepped(net, v)):
        net.zero_grad()
        inputs = x.double().requires_grad_()
        scores = forward(inputs)
        scores.square().sum().backward()
        gradients.append([scores, inputs.grad, *(p.grad.clone() for p in net.parameters())])
    assert bool(net.run(x.double())[1]["conv2"][1].any()), "without spikes the test shows nothing"
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_an_artificial_network_is_one_step_of_relu() -> None:
    net = network("ann").double()
    settle(net)
    net.eval()
    x = torch.randn(4, 2, 8, 8, dtype=torch.double)
    torch.testing.assert_close(net(x), net.step(x, {}), rtol=1e-12, atol=1e-12)
    assert net.steps == 1


def test_a_sample_does_not_depend_on_the_other_samples() -> None:
    net = network()
    settle(net)
    net.eval()
    x = torch.randn(6, 2, 8, 8)
    together = net(x)
    net(10 * torch.randn(6, 2, 8, 8))
    torch.testing.assert_close(torch.cat([net(x[:1]), net(x[1:])]), together)


def test_the_activity_has_every_layer() -> None:
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


def test_a_seed_gives_the_same_network_and_does_not_change_the_global_random_state() -> None:
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
        ("3C0", "none of nCk"),
        ("4C3s1", "none of nCk"),
        ("4C3-AP3s2", "none of nCk"),
        ("4C3-MP2s2", "the windows of 'MP2s2' do not overlap; write MP2"),
        ("GAP", "'GAP' must follow a convolution"),
        ("4C3-8FC-GAP", "'GAP' follows a linear layer"),
        ("[4C3-4C3]", r"'\[4C3' must follow a convolution"),
        ("4C3-8FC-[4C3-4C3]", r"'\[4C3' follows a linear layer"),
        ("4C3-[4C3-[4C3]", r"'\[4C3\]' opens a block within a block"),
        ("4C3-4C3]", r"'4C3\]' closes a block that was not opened"),
        ("4C3-[4C3-4C3", "opens a block that is not closed: ']' is missing"),
        ("4C3-[4C3-MP2-4C3]", "'MP2' stands in a residual block, which holds convolutions of odd"),
        ("4C3-[4C2-4C3]", "convolutions of odd kernels only"),
        ("4C3-[4C3-6C3]", r"turns 4 channels into 6, .* write '\[4C3-6C3\]P' for a projection"),
    ],
)
def test_a_bad_layout_is_refused_with_the_reason(layout: str, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        NetworkSpec(kind="ann", layout=layout)


def test_too_much_pooling_is_refused() -> None:
    with pytest.raises(ValueError, match="leaves no map"):
        network(layout="4C3-MP2-4C3-MP2-4C3-MP2-4C3-MP2")


def test_a_network_keeps_its_layout() -> None:
    assert network().layout == LAYOUT
    assert [t.kind for t in parse_layout(LAYOUT)] == ["conv", "max", "conv", "avg", "fc"]


@pytest.mark.parametrize("kind", ["snn", "ann"])
def test_a_residual_block_by_hand(kind: str) -> None:
    """One channel, 1 x 1 maps. Shortcuts carry currents (spiking) or outputs (artificial)."""
    net = build_network(
        NetworkSpec(kind=kind, layout="1C1-[1C1]-[1C1]P", time_steps=1), (1, 1, 1), 1, 0
    ).eval()
    weights = {"conv1": -0.5, "conv2": 0.75, "conv3": 3.0, "conv3_shortcut": 5.0}
    with torch.no_grad():
        for name, weight in weights.items():
            net.get_parameter(f"{name}.weight").fill_(weight)
            net.get_submodule(f"{name}_norm").eps = 0.0
        net.get_parameter("conv2_norm.bias").fill_(2.0)
    with torch.no_grad():
        activity = net.run(torch.ones(1, 1, 1, 1))[1]
    sent = {name: float(activity[name][1]) for name in weights}
    # The stem has the current -0.5 and the output 0. The current of a spiking conv2 is
    # 0 + 2 + (-0.5) = 1.5, so it spikes; with ReLU, its output is 0 + 2 + 0 = 2. With s, the output
    # of conv2, the current of conv3 is 3 s + 5 s in both cases.
    if kind == "snn":
        assert sent == {"conv1": 0, "conv2": 1, "conv3": 1, "conv3_shortcut": 1}
        assert dict(net.neuron_currents(lambda name: torch.tensor(CURRENTS[name]))) == {
            "conv1": -0.5,
            "conv2": 1.5,
            "conv3": 8.0,
        }
    else:
        assert sent == {"conv1": 0, "conv2": 2, "conv3": 16, "conv3_shortcut": 16}
    assert float(activity["conv3_shortcut"][0]) == sent["conv2"], (
        "a projection reads the block's input"
    )


CURRENTS = {"conv1": -0.5, "conv2": 2.0, "conv3": 3.0, "conv3_shortcut": 5.0}


@pytest.mark.usefixtures("snntorch_in_float64")
@pytest.mark.parametrize("kind", ["snn", "ann"])
def test_a_residual_network_equals_single_steps(kind: str) -> None:
    net = network(kind, layout=RESIDUAL).double()
    settle(net)
    net.eval()
    gradients, x = [], torch.randn(4, 2, 8, 8)
    for forward in (net, lambda v: stepped(net, v) if kind == "snn" else net.step(v, {})):
        net.zero_grad()
        inputs = x.double().requires_grad_()
        scores = forward(inputs)
        scores.square().sum().backward()
        gradients.append([scores, inputs.grad, *(p.grad.clone() for p in net.parameters())])
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@st.composite
def layouts(draw: st.DrawFn) -> str:
    """Any layout for 16 x 16 images."""
    width = st.integers(1, 5)
    last = draw(width)
    tokens = [f"{last}C{draw(st.sampled_from([1, 2, 3]))}"]
    for kind in draw(st.lists(st.sampled_from(["conv", "identity", "projection"]), max_size=4)):
        if kind == "conv":
            last = draw(width)
            tokens.append(f"{last}C3{draw(st.sampled_from(['', 's2']))}")
            continue
        inner = [f"{draw(width)}C{draw(st.sampled_from([1, 3, 5]))}" for _ in range(draw(width))]
        if kind == "projection":
            last = draw(width)
        inner[-1] = f"{last}C3"
        strided = kind == "projection" and draw(st.booleans())
        tokens.append(f"[{'-'.join(inner)}{'s2' * strided}]{'P' * (kind == 'projection')}")
        if draw(st.booleans()) and kind == "identity":
            tokens.append(draw(st.sampled_from(["MP3s2", "AP1", "MP1"])))
    ends = draw(st.lists(st.sampled_from(["3FC", "12FC"]), max_size=2))
    pooled = ["GAP"] if draw(st.booleans()) and tokens[-1][0] not in "MA" else []
    return "-".join([*tokens, *pooled, *ends])


@settings(max_examples=25, deadline=None)
@given(layout=layouts(), narrow=st.integers(1, 4))
def test_any_layout_is_kept(layout: str, narrow: int) -> None:
    """Parsed, built and narrowed, a layout stays the same text, apart from the widths."""
    assert "-".join(map(str, parse_layout(layout))) == layout
    net = build_network(NetworkSpec(kind="snn", layout=layout, time_steps=2), (2, 16, 16), 3, 0)
    assert net.layout == layout
    assert net(torch.rand(2, 2, 16, 16)).shape == (2, 3)
    small = net.narrowed([min(narrow, s.weights.weight.shape[0]) for s in net.stages])
    assert re.sub(r"\d+(?=C|F)", "n", small.layout) == re.sub(r"\d+(?=C|F)", "n", layout)
    assert [bool(s.shortcut and s.shortcut.name) for s in small.stages] == [
        bool(s.shortcut and s.shortcut.name) for s in net.stages
    ], "a projection stays a projection, even if pruning makes its widths equal"


def test_an_identity_shortcut_needs_equal_widths() -> None:
    with pytest.raises(ValueError, match="its shortcut is no identity"):
        network(layout=RESIDUAL).narrowed([3, 4, 2, 5, 5, 4, 4, 7])


def test_silenced_units_send_no_spikes_and_cost_no_synops() -> None:
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
    assert before[1, :, 0].any(), "without spikes to silence the test shows nothing"
    assert not spikes[1, :, 0].any()
    assert not spikes[[0, 2], :, 2].any()
    assert torch.equal(spikes[:, :, [1, 3]], before[:, :, [1, 3]]), "other units do not change"
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
    """The numbers of parameters are those that papers print, or follow from the layers."""
    assert round(parameters_of("6Conv2FC", (3, 32, 32)) / 1e6, 2) == 21.36
    # DPAP, Fig. 2(c): 6.0e5 on MNIST, 7.8e5 on N-MNIST, 123e5 on DVS-Gesture (128 x 128)
    assert round(parameters_of("2Conv2FC", (1, 28, 28)) / 1e5, 1) == 6.0
    assert round(parameters_of("2Conv2FC", (2, 32, 32)) / 1e5, 1) == 7.8
    assert round(parameters_of("2Conv2FC", (2, 128, 128)) / 1e5) == 123
    # VGG16: 14.71 million weights in convolutions (arXiv 1409.1556), then 512 x 512 and batch norm
    assert round(parameters_of("VGG16", (3, 32, 32)) / 1e6, 2) == 14.99


@pytest.mark.parametrize(
    ("name", "side", "classes", "parameters", "layers", "billions"),
    [
        ("ResNet18", 224, 1000, 11_689_512, 17, 1.814),  # torchvision's resnet18: 1.81 GFLOPS
        ("ResNet50", 224, 1000, 25_557_032, 49, 4.089),  # torchvision's resnet50: 4.09 GFLOPS
        ("ResNet18-SNN", 224, 1000, 11_689_512 + 64 * 64 + 2 * 64, 17, 1.827),
        ("ResNet18-CIFAR", 32, 10, 11_173_962, 17, 0.555),
    ],
)
def test_residual_networks_of_papers(
    name: str, side: int, classes: int, parameters: int, layers: int, billions: float
) -> None:
    """The networks of He et al. have the published numbers of parameters and operations.

    No convolution has a bias. Spiking layers have one more parameter each, beta. The number of
    operations, counted at every position of the maps, shows that strides and paddings are right.
    """
    spec, shape = NetworkSpec(kind="ann", layout=name), (3, side, side)
    net = Network(spec, shape, classes).eval()
    assert sum(p.numel() for p in net.parameters()) == parameters
    spiking = Network(spec.model_copy(update={"kind": "snn"}), shape, classes)
    assert len(spiking.stages) == layers
    assert sum(p.numel() for p in spiking.parameters()) == parameters + layers
    total = 0
    with torch.no_grad():
        for layer, (_, sent) in net.run(torch.zeros(1, *shape))[1].items():
            weight = net.get_parameter(f"{layer}.weight")
            total += weight.numel() * sent[0, 0].numel() // weight.shape[0]
    assert round(total / 1e9, 3) == billions


def test_a_layout_can_be_given_by_name() -> None:
    named, written = (
        NetworkSpec(kind="snn", layout=layout) for layout in ("2Conv2FC", "15C3-AP2-40C3-AP2-300FC")
    )
    assert named == written
    assert named.with_widths([3, 4, 5]).layout == "3C3-AP2-4C3-AP2-5FC"


@pytest.mark.usefixtures("snntorch_in_float64")
@pytest.mark.parametrize("kind", ["snn", "ann"])
def test_a_network_without_batch_norm_has_biases(kind: str) -> None:
    net = network(kind, layout=RESIDUAL, norm="none", threshold=0.2).double()
    assert not any(isinstance(m, torch.nn.modules.batchnorm._BatchNorm) for m in net.modules())
    assert all(stage.weights.bias is not None for stage in net.stages)
    x = torch.randn(4, 2, 8, 8, dtype=torch.double)
    torch.testing.assert_close(net(x), stepped(net, x), rtol=1e-12, atol=1e-12)


def test_the_kernels_of_the_fused_plan_need_batch_norm() -> None:
    spec = NetworkSpec(kind="snn", layout="4C3-7FC", norm="none")
    assert choose_plan(Execution(plan="fused"), spec, torch.device("cpu")).name == "folded"
