"""Groups from the dependency graph, and removal: a compacted network equals the masked one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from baselines.shared.dependency_graph import (
    remove_units,
    surviving_steps,
    unit_scores,
    unit_structure,
)
from baselines.shared.masks import Masks
from baselines.shared.selection import select
from pipelines.networks.network import Network
from pipelines.settings.network import READOUT, NetworkSpec
from pipelines.training.cell import build_network, build_structure

STACK = "6C3-MP2-8C3-AP2-10FC-9FC"
RESIDUAL = "6C3-MP2-[4C3-6C3]-[8C3s2-8C3]-[8C3]-[5C1-7C3]P-GAP-9FC"


def network(kind: str, layout: str = STACK) -> Network:
    spec = NetworkSpec(kind=kind, layout=layout, time_steps=3, beta=0.8)
    return build_network(spec, (1, 8, 8), 4, seed=0)


def random_masks(net: Network, granularity: str, density: float, seed: int = 0) -> tuple:
    structure = build_structure(net, granularity)
    draw = torch.Generator().manual_seed(seed)
    units = {g.name: torch.rand(g.size, generator=draw) for g in structure.groups}
    weights = {
        x.name: torch.rand(x.shape, generator=draw) for x in structure.layers if x.kind == "linear"
    }
    masks = select(
        structure,
        density,
        draw,
        units=units,
        weights=None if granularity == "structured" else weights,
        scope="layer-wise",
    )
    return structure, masks


def test_groups_of_a_feedforward_network() -> None:
    structure = build_structure(network("snn"), "structured")
    owned = {g.name: {(s.parameter, s.dim) for s in g.slices} for g in structure.groups}
    assert owned["conv2"] == {
        ("conv2.weight", 0),
        ("conv2_norm.weight", 0),
        ("conv2_norm.bias", 0),
        ("fc1.weight", 1),
    }
    assert ("readout.weight", 1) in owned["fc2"]
    assert READOUT not in owned, "the readout is never pruned"
    (flat,) = (s for s in structure.group_of("conv2").slices if s.parameter == "fc1.weight")
    assert flat.index.shape == (8, 4), "a channel owns its 2 x 2 columns of the flattened map"
    assert flat.index[1].tolist() == [4, 5, 6, 7]


@pytest.mark.parametrize("kind", ["snn", "ann"])
@pytest.mark.parametrize("granularity", ["structured", "hybrid", "spatio-temporal"])
@pytest.mark.parametrize(
    ("layout", "density"),
    [(STACK, 0.5), (STACK, 0.1), (STACK, 0.02), (RESIDUAL, 0.5), (RESIDUAL, 0.15)],
)
@pytest.mark.usefixtures("snntorch_in_float64")
def test_masked_equals_compacted(kind: str, granularity: str, layout: str, density: float) -> None:
    net = network(kind, layout).double()
    torch.manual_seed(0)
    x = 2 * torch.randn(16, 1, 8, 8, dtype=torch.double)
    with torch.no_grad():  # batch norm shifts, with which a masked channel could fire
        for name, parameter in net.named_parameters():
            if "norm.bias" in name:
                parameter.add_(2 * torch.rand_like(parameter))
    for _ in range(20):
        net(x)
    structure, masks = random_masks(net, granularity, density)
    if granularity == "spatio-temporal":
        firing = [x for x in structure.layers if x.drives is None]
        steps = {x.name: torch.rand(x.shape[0], net.steps) < 0.7 for x in firing}
        masks = replace(masks, steps=steps)
    masks.project(net)
    net.silence(masks.steps)
    net.eval()
    masked = net(x).detach()
    before = sum(p.numel() for p in net.parameters())
    remove_units(structure, masks)
    net.silence(surviving_steps(structure, masks))
    assert sum(p.numel() for p in net.parameters()) < before
    torch.testing.assert_close(net(x), masked, rtol=1e-6, atol=1e-6)
    widths = [int(masks.units[structure.group_of(s.name).name].sum()) for s in net.stages]
    assert [s.weights.weight.shape[0] for s in net.stages] == widths
    rebuilt = Network(net.spec.with_widths(widths), (1, 8, 8), 4).double().eval()
    rebuilt.load_state_dict(net.state_dict())
    rebuilt.silence(net.gates)
    torch.testing.assert_close(rebuilt(x), net(x), rtol=0, atol=1e-12)


def test_removal_keeps_all_classes() -> None:
    net = network("snn")
    structure, masks = random_masks(net, "structured", 0.01)
    remove_units(structure, masks)
    assert net(torch.randn(2, 1, 8, 8)).shape == (2, 4)


def test_groups_of_residual_blocks() -> None:
    structure = build_structure(network("snn", RESIDUAL), "structured")
    producers = [group.producers for group in structure.groups]
    assert producers == [
        ("conv1", "conv3"),
        ("conv2",),
        ("conv4",),
        ("conv5", "conv5_shortcut", "conv6"),
        ("conv7",),
        ("conv8", "conv8_shortcut"),
        ("fc1",),
    ]
    assert structure.emitters(structure.group_of("conv6")) == ("conv5", "conv6")
    drives = {layer.name: layer.drives for layer in structure.layers if layer.drives}
    assert drives == {"conv5_shortcut": "conv5", "conv8_shortcut": "conv8"}
    weights = build_structure(network("snn", RESIDUAL), "unstructured")
    assert weights.layers == structure.layers


class Residual(nn.Module):
    """A block whose skip connection ties the outputs of two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 6, 3, padding=1)
        self.inner = nn.Conv2d(6, 5, 3, padding=1)
        self.outer = nn.Conv2d(5, 6, 3, padding=1)
        self.readout = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        x = (x + self.outer(self.inner(x).relu())).relu()
        return self.readout(x.mean((2, 3)))


def test_layers_joined_by_a_skip_connection_share_a_group() -> None:
    torch.manual_seed(0)
    net = Residual().eval()
    example = torch.randn(2, 1, 6, 6)
    structure = unit_structure(net, "readout", example, lambda m, x: m(x))
    assert set(structure.group_of("stem").producers) == {"stem", "outer"}
    assert len(structure.groups) == 2
    scores = {g.name: torch.rand(g.size) for g in structure.groups}
    masks = select(structure, 0.4, torch.Generator(), units=scores)
    masks.project(net)
    masked = net(example)
    remove_units(structure, masks)
    torch.testing.assert_close(net(example), masked)


@pytest.mark.parametrize("layout", [STACK, RESIDUAL])
def test_counts_agree_with_masks_and_with_removal(layout: str) -> None:
    net = network("ann", layout)
    structure, masks = random_masks(net, "structured", 0.3)
    counts = structure.count(masks.units)
    for layer in structure.layers:
        assert int(masks.parameters[layer.weight].sum()) == counts[layer.name]
    remove_units(structure, masks)
    for layer in structure.layers:
        assert net.get_parameter(layer.weight).numel() == counts[layer.name]


def test_unknown_parameters_are_refused() -> None:
    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factor = nn.Parameter(torch.ones(1, 4, 1, 1))

        def forward(self, x: Tensor) -> Tensor:
            return x * self.factor

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 4, 3)
            self.scale = Scale()
            self.readout = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.readout(self.scale(self.conv(x)).mean((2, 3)))

    with pytest.raises(ValueError, match=r"a part of 'scale.factor' \(Parameter\): only"):
        unit_structure(Net(), "readout", torch.zeros(1, 1, 6, 6), lambda m, x: m(x))


def test_an_importance_without_scores_is_refused() -> None:
    structure = build_structure(network("ann"), "structured")
    with pytest.raises(ValueError, match="no score for group"):
        unit_scores(structure, lambda group: None)


def test_parameter_masks_alone_set_weights_to_zero() -> None:
    net = network("ann")
    _, masks = random_masks(net, "structured", 0.5)
    Masks(masks.parameters).project(net)
    for name, mask in masks.parameters.items():
        assert not bool(net.get_parameter(name)[~mask].any())


def test_the_traced_graph_contains_no_parameter() -> None:
    """torch-pruning keeps its graph alive, and CUDA graphs need parameters outside of any graph."""
    network = build_network(NetworkSpec(kind="snn", layout="4C3-MP2-5FC"), (1, 8, 8), 3, 0)
    structure = build_structure(network, "structured")
    assert structure.groups

    def node(parameter: Tensor) -> Any:
        """The autograd node that accumulates the gradient; it lives as long as a graph uses it."""
        function = parameter.view_as(parameter).grad_fn
        assert function is not None
        return function.next_functions[0][0]

    for parameter in network.parameters():
        node(parameter).metadata["seen"] = True
        assert "seen" not in node(parameter).metadata
    graph = network.step(torch.zeros(2, 1, 8, 8), {})
    node(network.readout.weight).metadata["seen"] = True
    assert "seen" in node(network.readout.weight).metadata, (
        "a graph that contains the parameter keeps its node"
    )
    del graph
