"""Published residual networks: they train, and units can be removed from them."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from baselines.shared.dependency_graph import remove_units
from baselines.shared.groups import Structure
from baselines.shared.selection import select
from pipelines.networks.initial import build_network, build_structure
from pipelines.networks.network import Network
from pipelines.settings.network import Execution, NetworkSpec


def remove_smallest(net: Network, density: float) -> Structure:
    """Remove the units of smallest weights; the smaller network must equal the masked one."""
    structure = build_structure(net, "structured")
    norms = structure.unit_sums({n: p.detach().square() for n, p in net.named_parameters()})
    masks = select(structure, density, torch.Generator(), units=norms, scope="layer-wise")
    assert structure.density(masks) == pytest.approx(density, abs=0.02)
    masks.project(net)
    x = torch.rand(2, *net.input_shape)
    with torch.no_grad():
        masked = net.eval()(x)
        remove_units(structure, masks)
        torch.testing.assert_close(net(x), masked, rtol=1e-4, atol=1e-5)
    weights = sum(net.get_parameter(layer.weight).numel() for layer in structure.layers)
    assert weights / structure.prunable == structure.density(masks)
    rebuilt = Network(net.spec.model_copy(update={"layout": net.layout}), net.input_shape, 10)
    rebuilt.load_state_dict(net.state_dict())
    return structure


def test_a_spiking_resnet18_trains_and_can_be_pruned() -> None:
    spec = NetworkSpec(kind="snn", layout="ResNet18-CIFAR", time_steps=2)
    net = build_network(spec, (3, 32, 32), 10, 0, Execution(plan="fused"))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    x, labels = torch.rand(4, 3, 32, 32), torch.arange(4)
    losses = []
    for _ in range(2):
        optimizer.zero_grad()
        loss = functional.cross_entropy(net(x), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[1] < losses[0]
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name
    remove_smallest(net, 0.25)


@pytest.mark.parametrize("kind", ["ann", "snn"])
def test_a_resnet50_can_be_pruned(kind: str) -> None:
    """Groups: the stem, two inner layers of each of 16 blocks, and the outputs of 4 stages."""
    net = build_network(NetworkSpec(kind=kind, layout="ResNet50"), (3, 64, 64), 10, 0)
    structure = remove_smallest(net, 0.25)
    assert len(structure.groups) == 1 + 2 * 16 + 4
    shared = [group.producers for group in structure.groups if len(group.producers) > 1]
    assert shared[0] == ("conv4", "conv4_shortcut", "conv7", "conv10")
    assert [len(producers) for producers in shared] == [1 + n for n in (3, 4, 6, 3)]
