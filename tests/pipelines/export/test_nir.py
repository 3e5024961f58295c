"""NIR graphs: an independent interpreter of NIR gives the same spikes and scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from baselines.shared.dependency_graph import remove_units
from dpap.export.nodes import DT
from pipelines.export.nir import refusal, write_graph
from pipelines.networks.initial import build_network, build_structure
from pipelines.networks.network import Network
from pipelines.settings.network import Execution, NetworkSpec
from tests.helpers.nir_interpreter import Interpreter

nir = pytest.importorskip("nir", reason="nir is not installed, so its graphs are not tested")


def trained(spec: NetworkSpec, shape: tuple[int, int, int] = (2, 9, 8)) -> Network:
    """A network as after training: its batch norms have random weights and statistics."""
    network = build_network(spec, shape, 5, seed=3)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for norm in network.modules():
            if not isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
                continue
            assert norm.running_mean is not None
            assert norm.running_var is not None
            norm.weight.uniform_(0.5, 2, generator=generator)
            norm.bias.uniform_(-0.2, 1, generator=generator)
            norm.running_mean.normal_(0, 0.1, generator=generator)
            norm.running_var.uniform_(0.05, 0.5, generator=generator)
    return network.eval()


@torch.no_grad()
def compare(network: Network, path: Path, steps: int = 1) -> dict[str, float]:
    """Compare a graph with its network; return the firing rates of the layers."""
    write_graph(path, network, {"run_id": "0"})
    inputs = torch.rand(steps, 8, *network.input_shape, generator=torch.Generator().manual_seed(11))
    scores, activity = network.run(inputs)
    graph_scores, outputs = Interpreter(path).run(inputs)
    rates = {}
    for stage in network.stages:
        spikes = activity[stage.name][1]
        assert torch.equal(spikes.double(), outputs[f"{stage.name}_neuron"]), stage.name
        rates[stage.name] = float(spikes.mean())
        if not isinstance(stage.pool, nn.Identity):
            pooled = stage.pool(spikes.flatten(0, 1)).unflatten(0, spikes.shape[:2])
            last = "pool_any" if isinstance(stage.pool, nn.MaxPool2d) else "pool"
            graph_pooled = outputs[f"{stage.name}_{last}"]
            torch.testing.assert_close(pooled.double(), graph_pooled, rtol=0, atol=1e-7)
    assert torch.allclose(scores.double(), graph_scores, rtol=0, atol=1e-5)
    assert scores.std() > 1e-3
    return rates


LAYOUTS = [
    "6C3-MP2-8C3-MP2-12FC",
    "6C3-AP2-8C5-AP2-12FC-7FC",
    "4C2-MP3-6C1",  # an even kernel, and a readout that reads feature maps
    "9FC",
    "6C3s2-MP3s2-8C3-GAP",  # pooling windows that overlap
    "6C3-[4C3-6C3]-[6C3]-AP2-[6C3-6C3]-8FC",  # identity shortcuts, one of a pooled current
    "6C3-MP3s2-[5C3-6C3]P-[6C3-6C3]-GAP",  # the stem and the first blocks of ResNet18-SNN
    "6C3-MP2-[8C3s2-7C3]-[5C1-9C3]P-[9C3-9C3]-GAP",  # projection shortcuts
]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("steps", [1, 5], ids=["static", "moving"])
def test_a_graph_gives_the_spikes_and_scores_of_its_network(
    layout: str, steps: int, tmp_path: Path
) -> None:
    spec = NetworkSpec(kind="snn", layout=layout, time_steps=5, beta=0.7, threshold=0.9)
    rates = compare(trained(spec), tmp_path / "network.nir", steps)
    assert all(0.02 < rate < 0.98 for rate in rates.values()), rates


@pytest.mark.parametrize("beta", [0.0, 0.3, 0.97, 1.0, 1.2], ids=str)
def test_every_decay_is_exported_exactly(beta: float, tmp_path: Path) -> None:
    network = trained(NetworkSpec(kind="snn", layout="5C3-MP2-6FC", time_steps=6))
    with torch.no_grad():
        network.stages[0].neuron.beta.fill_(beta)  # type: ignore[operator, union-attr]
    compare(network, tmp_path / "network.nir")
    neurons = nir.read(tmp_path / "network.nir").nodes["conv1_neuron"]
    assert type(neurons).__name__ == ("IF" if beta >= 1 else "LIF")
    if beta < 1:
        recovered = np.float32(1 - DT / neurons.tau)
        assert (recovered == np.float32(beta)).all()


@pytest.mark.parametrize("plan", ["step", "folded", "fused"])
@pytest.mark.parametrize(
    ("layout", "compacted"),
    [
        ("6C3-MP2-8C3-MP2-12FC", "4C3-MP2-5C3-MP2-8FC"),
        ("6C3-[5C3-6C3]-[8C3s2-8C3]-GAP-12FC", "4C3-[3C3-4C3]-[5C3s2-5C3]-GAP-8FC"),
    ],
)
def test_a_network_after_physical_removal(
    layout: str, compacted: str, plan: Any, tmp_path: Path
) -> None:
    network = trained(NetworkSpec(kind="snn", layout=layout, time_steps=4))
    network.execution = Execution(plan=plan)
    structure = build_structure(network, "structured")
    units = {g.name: torch.arange(g.size) % 3 != 1 for g in structure.groups}
    masks = structure.masks(units)
    masks.project(network)
    remove_units(structure, masks)
    assert network.layout == compacted
    compare(network, tmp_path / "network.nir")
    weights = nir.read(tmp_path / "network.nir").nodes["conv2"].weight
    assert weights.shape == network.get_parameter("conv2.weight").shape


def test_networks_that_nir_cannot_express_are_refused() -> None:
    snn = NetworkSpec(kind="snn", layout="4C3-6FC", time_steps=3)
    network = build_network(snn, (1, 4, 4), 2, seed=0)
    assert refusal(network) is None
    kept = torch.ones(4, 3, dtype=torch.bool)
    network.silence({"conv1": kept})
    assert refusal(network) is None, "no step is silenced"
    kept[1, 2] = False
    network.silence({"conv1": kept})
    assert "layer 'conv1' has some" in (refusal(network) or "")
    subtract = build_network(snn.model_copy(update={"reset": "subtract"}), (1, 4, 4), 2, seed=0)
    assert "reset: subtract" in (refusal(subtract) or "")
    pooled = snn.model_copy(update={"layout": "4C3-MP2-[4C3-4C3]"})
    reason = refusal(build_network(pooled, (1, 4, 4), 2, seed=0))
    assert "maximum of currents, which the shortcut after layer 'conv1' needs" in (reason or "")
    for name in ("ResNet18-SNN", "ResNet18-CIFAR", "ResNet50"):
        whole = NetworkSpec(kind="snn", layout=name, time_steps=2)
        assert refusal(build_network(whole, (3, 64, 64), 10, seed=0)) is None
    ann = build_network(NetworkSpec(kind="ann", layout="4C3-6FC"), (1, 4, 4), 2, seed=0)
    assert "NIR has no ReLU" in (refusal(ann) or "")
