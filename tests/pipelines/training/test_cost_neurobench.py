"""Our counts equal those of NeuroBench, to the integer, on networks that both can compute."""

from __future__ import annotations

import pytest
import snntorch as snn
import torch
from torch import Tensor, nn

from pipelines.networks.initial import build_network
from pipelines.networks.network import Network
from pipelines.networks.plans.step import one_step
from pipelines.settings.network import NetworkSpec
from pipelines.training.cost import ActivityCounter, connection_sparsity, operations
from tests.helpers.own_workloads import own_workload

pytest.importorskip(
    "neurobench",
    reason="NeuroBench is not installed, so our counts are not compared with its: "
    "pip install -c constraints.txt -e '.[neurobench]'",
)
from neurobench.metrics.static import ConnectionSparsity
from neurobench.metrics.workload import ActivationSparsity, SynapticOperations
from neurobench.models import NeuroBenchModel

SAMPLES, STEPS, SHAPE = 6, 3, (2, 8, 8)


class Stepped(NeuroBenchModel):
    """Wraps a network for NeuroBench: all its layers are called once for each time step."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network.eval()
        self.add_activation_module(snn.SpikingNeuron)

    def __call__(self, data: Tensor) -> Tensor:
        """Mean scores [B, classes] of inputs [B, T, C, H, W]."""
        state: dict[str, Tensor] = {}
        steps = [
            self.network.readout(
                one_step(self.network.neurons, self.network.stages, x, state, self._may_spike(t))[
                    0
                ].flatten(1)
            )
            for t, x in enumerate(data.unbind(1))
        ]
        return torch.stack(steps).mean(0)

    def _may_spike(self, t: int) -> dict[str, Tensor]:
        """Layer -> units that are not silenced at step t, bool [units]."""
        return {name: kept[:, t] for name, kept in self.network.gates.items()}

    def __net__(self) -> Network:
        """Return the network; NeuroBench searches its children for layers and neurons."""
        return self.network


@pytest.fixture(params=["4C3-MP2-6C3-MP2-7FC", "4C3-[3C3-4C3]-[6C3s2-6C3]-MP2-7FC"])
def network(request: pytest.FixtureRequest) -> Network:
    """A spiking network, plain or residual, whose neurons are neither silent nor saturated."""
    spec = NetworkSpec(kind="snn", layout=request.param, time_steps=STEPS)
    net = build_network(spec, SHAPE, 3, seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for stage in net.stages:
            shift = net.get_parameter(f"{stage.name}_norm.bias")
            shift.copy_(0.3 + 0.5 * torch.rand(shift.shape, generator=generator))
    return net.eval()


def static() -> Tensor:
    """Static images [B, C, H, W] in which a third of the pixels is zero."""
    images = torch.rand(SAMPLES, *SHAPE, generator=torch.Generator().manual_seed(2))
    return (images - 1 / 3).clamp(min=0)


def events() -> Tensor:
    """Events, [T, B, C, H, W] of zeros and ones."""
    generator = torch.Generator().manual_seed(3)
    return (torch.rand(STEPS, SAMPLES, *SHAPE, generator=generator) < 0.3).float()


@torch.no_grad()
def theirs(network: Network, inputs: Tensor) -> dict[str, float]:
    """Figures of NeuroBench; its counts are means over the samples."""
    model = Stepped(network)
    steps = inputs.expand(STEPS, *inputs.shape) if inputs.dim() == 4 else inputs
    data = (steps.transpose(0, 1), torch.zeros(SAMPLES))
    model.register_hooks()
    try:
        scores = model(data[0])
        counts = SynapticOperations()(model, scores, data)
        zeros = ActivationSparsity()(model, scores, data)
    finally:
        model.cleanup_hooks()
    assert torch.allclose(scores, network(inputs), atol=1e-5), "both compute the same network"
    return {**counts, "zeros": zeros, "connections": ConnectionSparsity()(model)}


def ours(network: Network, inputs: Tensor) -> dict[str, float]:
    """Our figures, under the names of NeuroBench."""
    counter = ActivityCounter(network.steps, network)
    for batch in inputs.split(4, dim=inputs.dim() - 4):
        counter.add(network.run(batch)[1])
    counts = operations(network, counter).values()
    return {
        "Effective_MACs": sum(macs for _, macs, _ in counts),
        "Effective_ACs": sum(acs for _, _, acs in counts),
        "Dense": sum(dense for dense, _, _ in counts),
        "zeros": counter.activation_sparsity(),
        "connections": connection_sparsity(network),
    }


def totals(figures: dict[str, float]) -> list[int]:
    """MACs, ACs and dense operations, summed over all samples, which gives integers."""
    names = ("Effective_MACs", "Effective_ACs", "Dense")
    exact = [figures[name] * SAMPLES for name in names]
    assert exact == pytest.approx([round(value) for value in exact], abs=1e-6)
    return [round(value) for value in exact]


@torch.no_grad()
def halve(network: Network) -> None:
    """Mask half of the weights of all layers, the readout included."""
    generator = torch.Generator().manual_seed(4)
    for name, weight in network.named_parameters():
        if name.endswith("weight") and "_norm" not in name:
            weight.mul_(torch.rand(weight.shape, generator=generator) < 0.5)


@pytest.fixture(params=[False, True], ids=["whole", "masked"])
def pruned(request: pytest.FixtureRequest, network: Network) -> Network:
    """The network, with all its weights or with half of them masked."""
    if request.param:
        halve(network)
    return network


@pytest.mark.parametrize("inputs", [static(), events()], ids=["static", "events"])
def test_counts_agree_to_the_integer(pruned: Network, inputs: Tensor) -> None:
    our, their = ours(pruned, inputs), theirs(pruned, inputs)
    assert totals(our) == totals(their)
    macs, acs, dense = totals(our)
    assert (macs > 0) == (inputs.dim() == 4), "analogue pixels give MACs, events give ACs"
    assert 0 < acs < dense
    assert 0 < our["zeros"] < 1
    assert our["zeros"] == their["zeros"]
    assert round(our["connections"], 4) == pytest.approx(their["connections"], abs=1e-6)


def test_silenced_steps_differ_in_activation_sparsity_only(network: Network) -> None:
    """NeuroBench counts the spike of a silenced neuron; we do not, as no layer receives it."""
    before = ours(network, events())
    kept = torch.ones(4, STEPS, dtype=torch.bool)
    kept[:2, 1] = False
    network.silence({"conv1": kept})
    our, their = ours(network, events()), theirs(network, events())
    assert totals(our) == totals(their)
    assert totals(our)[1] < totals(before)[1]
    assert our["zeros"] > their["zeros"]


class Whole(NeuroBenchModel):
    """Wraps the module of a factory, which NeuroBench calls as the harness does."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def __call__(self, data: Tensor) -> Tensor:
        """Return class scores of images."""
        scores: Tensor = self.network(data)
        return scores

    def __net__(self) -> nn.Module:
        """Return the module that has the layers."""
        return self.network


@pytest.mark.parametrize("name", ["stepped", "looped"])
def test_counts_of_a_factorys_network_agree_to_the_integer(name: str) -> None:
    network = build_network(own_workload(name).network, (1, 4, 4), 3, 0).eval()
    halve(network)
    images = torch.rand(SAMPLES, 1, 4, 4, generator=torch.Generator().manual_seed(2))
    model = Whole(network)
    data = ((images - 1 / 3).clamp(min=0), torch.zeros(SAMPLES))
    model.register_hooks()
    try:
        with torch.no_grad():
            their = dict(SynapticOperations()(model, model(data[0]), data))
    finally:
        model.cleanup_hooks()
    our = ours(network, data[0])
    assert totals(our) == totals(their)
    assert all(total > 0 for total in totals(our))
