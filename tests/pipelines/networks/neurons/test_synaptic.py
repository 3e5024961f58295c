"""Synaptic neurons: snnTorch's, in every plan; a network of them loses units and has costs."""

from __future__ import annotations

import pytest
import snntorch as snn
import torch
from torch import Tensor, nn

from baselines.shared.activity import Activity
from baselines.shared.channel_scores import mean_potentials
from baselines.shared.dependency_graph import remove_units
from baselines.shared.selection import select
from pipelines.export.nir import refusal
from pipelines.networks.initial import build_network, build_structure
from pipelines.networks.network import Network
from pipelines.networks.neurons import make_neuron_model
from pipelines.networks.neurons.synaptic import ALPHA
from pipelines.settings.network import Execution, NetworkSpec

RESETS = pytest.mark.parametrize("reset", ["zero", "subtract"])
LAYOUT = "4C3-MP2-[5C3-4C3]-7FC"


def network(plan: str = "folded", *, layout: str = LAYOUT, **fields: object) -> Network:
    fields = {"time_steps": 4, "beta": 0.8, "threshold": 0.6} | fields
    spec = NetworkSpec(kind="snn", neuron="synaptic", layout=layout, **fields)
    return build_network(spec, (1, 8, 8), 5, 0, Execution(plan=plan))


def settled() -> Network:
    """A network whose statistics of batch norm let neurons fire."""
    net, draw = network().double(), torch.Generator().manual_seed(0)
    for _ in range(30):
        net(2 * torch.randn(16, 1, 8, 8, generator=draw, dtype=torch.float64))
    return net.eval()


@RESETS
@pytest.mark.usefixtures("snntorch_in_float64")
def test_all_time_steps_are_those_of_snntorch(reset: str) -> None:
    """A loop over `snntorch.Synaptic`, written here, has the same spikes and gradients."""
    spec = NetworkSpec(kind="snn", neuron="synaptic", layout="4C3", time_steps=5, reset=reset)
    model = make_neuron_model(spec)
    ours = model.build().double()
    theirs = snn.Synaptic(
        ALPHA,
        spec.beta,
        spike_grad=snn.surrogate.atan(),
        learn_alpha=True,
        learn_beta=True,
        reset_mechanism=reset,
    ).double()
    current, found = torch.randn(5, 3, 8, dtype=torch.float64), []
    for stepped in (False, True):
        x = current.clone().requires_grad_()
        module = theirs if stepped else ours
        if stepped:
            synapses = membrane = torch.zeros(3, 8, dtype=torch.float64)
            spikes = []
            for now in x:
                fired, synapses, membrane = theirs(now, synapses, membrane)
                spikes.append(fired)
            y = torch.stack(spikes)
        else:
            y = model.scan(ours, x)
        (y * torch.arange(8)).sum().backward()
        found.append([y.detach(), x.grad, module.alpha.grad, module.beta.grad])
    assert 0 < found[0][0].mean() < 1
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)


def test_by_hand() -> None:
    """Alpha 0.8, beta 0.5, threshold 1, and one input of 0.7.

    The synaptic current is 0.7, 0.56, 0.448. The potential is 0.7, then 0.35 + 0.56 = 0.91, then
    0.455 + 0.448 = 0.903: it never fires, although leaky neurons would have 0.7, 0.35, 0.175. With
    0.8 it is 0.8, 0.4 + 0.64 = 1.04: it fires at the second time step.
    """
    spec = NetworkSpec(kind="snn", neuron="synaptic", layout="4C3", time_steps=3)
    model = make_neuron_model(spec)
    current = torch.zeros(3, 1, 2)
    current[0] = torch.tensor([0.7, 0.8])
    spikes = model.scan(model.build(), current)
    assert spikes[:, 0].t().tolist() == [[0, 0, 0], [0, 1, 0]]
    state: tuple[Tensor, ...] = ()
    module, potentials = model.build(), []
    for now in current:
        _, state = model.step(module, now, state)
        potentials.append(round(float(state[1][0, 0].detach()), 4))
    assert potentials == [0.7, 0.91, 0.903]


@pytest.mark.usefixtures("snntorch_in_float64")
@pytest.mark.parametrize("static", [True, False])
def test_every_plan_computes_it(static: bool) -> None:
    """In evaluation, where batch norm is the same in all; `fused` has no scan of these neurons."""
    base, found = settled(), []
    x = torch.randn(*((6,) if static else (4, 6)), 1, 8, 8, dtype=torch.float64)
    for plan in ("step", "folded", "fused"):
        net = network(plan).double().eval()
        net.load_state_dict(base.state_dict())
        net.silence({"conv1": torch.arange(16).view(4, 4) % 5 != 0})
        inputs = x.clone().requires_grad_()
        scores, activity = net.run(inputs)
        scores.square().sum().backward()
        sent = [spikes for _, spikes in activity.values()]
        assert 0 < sent[1].mean() < 1, "the test needs spikes and silence"
        found.append([scores, *sent, inputs.grad, *(p.grad for p in net.parameters())])
    for other in found[1:]:
        for value, wanted in zip(other, found[0], strict=True):
            torch.testing.assert_close(value, wanted, rtol=1e-10, atol=1e-10)


def test_the_state_is_kept_in_float32() -> None:
    """Inputs of 2^-12 move the potential by 5 * 2^-12 per time step, to the threshold of 1.

    In bfloat16, numbers above a half are 2^-8 apart, and the sum would stop there.
    """
    spec = NetworkSpec(kind="snn", neuron="synaptic", layout="4C3", time_steps=900, beta=1.0)
    model = make_neuron_model(spec)
    spikes = model.scan(model.build(), torch.full((900, 1, 1), 2.0**-12, dtype=torch.bfloat16))
    assert spikes.dtype == torch.bfloat16
    assert spikes.sum() == 1


@pytest.mark.parametrize("plan", ["step", "folded", "fused"])
def test_it_trains_in_bfloat16(plan: str) -> None:
    spec, execution = network(time_steps=2).spec, Execution(plan=plan, precision="bfloat16")  # type: ignore[arg-type]
    net = build_network(spec, (1, 8, 8), 5, 0, execution)
    nn.functional.cross_entropy(net(torch.randn(4, 1, 8, 8)), torch.arange(4)).backward()
    for name, parameter in net.named_parameters():
        assert parameter.dtype == torch.float32
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_units_are_removed_from_it() -> None:
    """The smaller network computes what the masked one does."""
    net = settled().float()
    structure = build_structure(net, "structured")
    norms = structure.unit_sums({n: p.detach().square() for n, p in net.named_parameters()})
    masks = select(structure, 0.5, torch.Generator(), units=norms, scope="layer-wise")
    masks.project(net)
    x = torch.randn(4, 1, 8, 8)
    with torch.no_grad():
        masked = net(x)
        remove_units(structure, masks)
        torch.testing.assert_close(net(x), masked, rtol=1e-4, atol=1e-5)


def test_methods_see_its_potential() -> None:
    """A static input: batch norm over time and batch is that of each time step."""
    net = network(layout="3C3").train()
    inputs = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    activity = Activity(net.record(inputs)[1])
    found = mean_potentials(net, build_structure(net, "structured"), activity)
    states: dict[str, tuple[Tensor, ...]] = {}
    total = torch.zeros(3)
    for _ in range(net.steps):
        net.step(inputs, states)
        _, membrane = states["conv1"]
        total += membrane.detach().abs().mean((0, 2, 3)) / net.steps
    torch.testing.assert_close(found["conv1"], total)


def test_there_is_no_graph_of_it() -> None:
    assert refusal(network()) == (
        "the export to NIR has no neuron model 'synaptic', which layer 'conv1' needs."
    )
