"""NIR graphs of users' networks: an independent interpreter gives the same spikes at every step."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import snntorch as snn
import torch
from snntorch import surrogate
from torch import Tensor, nn
from torch.nn import functional

from dpap import DPAP, attach
from dpap.attachment.copies import at_rest

nir = pytest.importorskip("nir", reason="nir is not installed, so its graphs are not tested")

from dpap.export.nir import to_nir  # noqa: E402
from tests.helpers.documents import commands  # noqa: E402
from tests.helpers.nir_interpreter import Interpreter  # noqa: E402

STEPS = 6


def draw(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


def vary(network: nn.Module) -> nn.Module:
    """Random statistics of batch norm, as after training."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for norm in network.modules():
            if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
                assert norm.running_mean is not None
                assert norm.running_var is not None
                norm.running_mean.normal_(0, 0.1, generator=generator)
                norm.running_var.uniform_(0.05, 0.5, generator=generator)
                if norm.affine:
                    norm.weight.uniform_(0.5, 2, generator=generator)
                    norm.bias.uniform_(-0.2, 1, generator=generator)
    return network.eval()


@torch.no_grad()
def outputs_of(network: nn.Module, inputs: Tensor) -> Tensor:
    """Outputs of a network that is called once per step, [T, B, ...]."""
    at_rest(network)
    found = [network(inputs[t if len(inputs) > 1 else 0]) for t in range(STEPS)]
    return torch.stack([x[0] if isinstance(x, tuple) else x for x in found])


def compare(network: nn.Module, inputs: Tensor, path: Path) -> Any:
    """Compare the graph with a network that is called once per step; return the graph."""
    wanted = outputs_of(network, inputs)
    before = copy.deepcopy(network.state_dict())
    nir.write(path, to_nir(network, inputs[0]))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    _, found = Interpreter(path).run(inputs, STEPS)
    torch.testing.assert_close(found["output"], wanted.double(), rtol=1e-4, atol=1e-4)
    assert float(wanted.std()) > 1e-3
    return nir.read(path)


def neurons(kind: str, n: int = 12, **options: Any) -> nn.Module:
    options = {"threshold": 0.4, "init_hidden": True} | options
    decay = options.pop("beta", 0.8)
    if kind == "Leaky":
        return snn.Leaky(decay, **options)
    if kind == "Lapicque":
        return snn.Lapicque(R=2.0, C=3.0, **options)
    if kind == "Synaptic":
        return snn.Synaptic(options.pop("alpha", 0.6), decay, **options)
    if kind == "RLeaky":
        return snn.RLeaky(decay, linear_features=n, **options)
    return snn.RSynaptic(options.pop("alpha", 0.6), decay, linear_features=n, **options)


NEURONS: dict[str, tuple[str, dict[str, Any], set[str]]] = {
    "subtract": ("Leaky", {}, {"LI", "Threshold", "Scale"}),
    "zero": ("Leaky", {"reset_mechanism": "zero"}, {"LIF"}),
    "zero at once": ("Leaky", {"reset_mechanism": "zero", "reset_delay": False}, {"LIF"}),
    "no reset": ("Leaky", {"reset_mechanism": "none"}, {"LI", "Threshold"}),
    "no leak": ("Leaky", {"beta": 1.0}, {"I", "Threshold", "Scale"}),
    "no leak, zero": ("Leaky", {"beta": 1.0, "reset_mechanism": "zero"}, {"IF"}),
    "constants per neuron": (
        "Leaky",
        {"beta": torch.linspace(-0.1, 0.9, 12), "threshold": torch.linspace(0.2, 0.6, 12)},
        {"LI", "Threshold", "Scale"},
    ),
    "lapicque": ("Lapicque", {}, {"LI", "Threshold", "Scale"}),
    "lapicque, no reset": ("Lapicque", {"reset_mechanism": "none"}, {"LI", "Threshold"}),
    "synaptic": ("Synaptic", {}, {"LI", "Threshold", "Scale"}),
    "synaptic, zero": ("Synaptic", {"reset_mechanism": "zero", "reset_delay": False}, {"CubaLIF"}),
    "synaptic, no decay": (
        "Synaptic",
        {"alpha": 1.0, "reset_mechanism": "zero", "reset_delay": False},
        {"I", "LIF"},
    ),
    "recurrent": ("RLeaky", {}, {"LI", "Threshold", "Scale"}),
    "recurrent, zero": ("RLeaky", {"reset_mechanism": "zero", "reset_delay": False}, {"LIF"}),
    "recurrent, one to one": (
        "RLeaky",
        {"all_to_all": False, "V": torch.linspace(-1, 1, 12)},
        {"LI", "Threshold", "Scale"},
    ),
    "recurrent synaptic": ("RSynaptic", {}, {"LI", "Threshold", "Scale"}),
}


@pytest.mark.parametrize("name", NEURONS)
def test_neurons(name: str, tmp_path: Path) -> None:
    kind, options, wanted = NEURONS[name]
    torch.manual_seed(0)
    if "V" in options:
        layer: nn.Module = snn.RLeaky(0.8, threshold=0.4, init_hidden=True, **options)
    else:
        layer = neurons(kind, **options)
    network = nn.Sequential(nn.Linear(7, 12, bias=False), layer, nn.Linear(12, 12), nn.Identity())
    graph = compare(network, 2 * draw(STEPS, 5, 7), tmp_path / "network.nir")
    kinds = {type(node).__name__ for node in graph.nodes.values()}
    assert kinds - {"Input", "Output", "Affine"} == wanted
    spikes = nn.Sequential(network[0], layer)
    at_rest(spikes)
    assert 0.02 < float(outputs_of(spikes, 2 * draw(STEPS, 5, 7)).mean()) < 0.98


def conv_network() -> nn.Module:
    """A plain network of snnTorch."""
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding="same", bias=False),
        nn.BatchNorm2d(6),
        neurons("Leaky"),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, stride=2, padding=1, groups=2),
        neurons("Leaky", reset_mechanism="zero"),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(8, 10),
        nn.BatchNorm1d(10, affine=False),
        neurons("Synaptic"),
        nn.Linear(10, 5),
        snn.Leaky(0.9, init_hidden=True, output=True, threshold=0.2),
    )


class Residual(nn.Module):
    """Shortcuts of spikes and currents, and functions between the modules."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.first = nn.Conv2d(2, 6, 3, padding=1), neurons("Leaky")
        self.norm, self.branch = nn.BatchNorm2d(6), nn.Conv2d(6, 6, 3, padding=1)
        self.project, self.second = nn.Conv2d(6, 6, 1), neurons("Leaky")
        self.fc = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> dict[str, Any]:
        x = self.first(self.stem(x))
        y = self.branch(self.norm(x))
        y += x
        y = self.second(y + self.project(x))
        y = functional.avg_pool2d(y, 2).mean((2, 3))
        return {"scores": self.fc(y), "rate": x.mean()}


class Loop(nn.Module):
    """The loop over time of snnTorch's tutorials, with a moving input and states by hand."""

    def __init__(self, record: str) -> None:
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(7, 12), snn.Leaky(0.8, threshold=0.4)
        self.fc2, self.lif2 = nn.Linear(12, 5), snn.RLeaky(0.8, threshold=0.3, linear_features=5)
        self.record = record

    def forward(self, x: Tensor) -> Any:
        mem1 = self.lif1.init_leaky()
        spk2, mem2 = self.lif2.init_rleaky()
        spikes, potentials = [], []
        total: Any = 0
        record = torch.zeros(len(x), x.shape[1], 5)
        for t in range(len(x)):
            spk1, mem1 = self.lif1(self.fc1(x[t]), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), spk2, mem2)
            spikes.append(spk2)
            potentials.append(mem2)
            total = total + spk2
            record[t] = spk2
        if self.record == "stack":
            return torch.stack(spikes), torch.stack(potentials)
        return total / len(x) if self.record == "sum" else record.mean(0)


def test_layers_pooling_and_batch_norm(tmp_path: Path) -> None:
    torch.manual_seed(0)
    graph = compare(vary(conv_network()), 2 * draw(1, 3, 2, 8, 8), tmp_path / "network.nir")
    assert "1" not in graph.nodes, "batch norm is folded"


def test_shortcuts_and_functions(tmp_path: Path) -> None:
    torch.manual_seed(0)

    class First(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = vary(Residual())

        def forward(self, x: Tensor) -> Tensor:
            scores: Tensor = self.inner(x)["scores"]
            return scores

    graph = compare(First().eval(), 2 * draw(STEPS, 3, 2, 8, 8), tmp_path / "network.nir")
    into = {before for before, name in graph.edges if name == "inner.second_potential"}
    assert into == {
        "inner.branch",
        "inner.project",
        "inner.first",
        "inner.second_reset",
    }, "NIR adds them up"


@pytest.mark.parametrize("record", ["stack", "sum", "write"])
def test_a_loop_over_time_inside(record: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, inputs, path = Loop(record), 2 * draw(STEPS, 3, 7), tmp_path / "network.nir"
    nir.write(path, to_nir(network, inputs))
    mean, found = Interpreter(path).run(inputs, STEPS)
    with torch.no_grad():
        wanted = network(inputs)
    if record == "stack":
        assert torch.equal(found["output"], wanted[0].double())
        assert 0 < float(wanted[0].mean()) < 1
    else:
        torch.testing.assert_close(mean, wanted.double(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("granularity", ["structured", "unstructured"])
def test_before_and_after_compaction(granularity: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = vary(conv_network())
    inputs, path = 2 * draw(1, 3, 2, 8, 8), tmp_path / "network.nir"
    pruner: Any = DPAP(updates=4, first_update=0, stop=1.0)
    if granularity == "unstructured":
        pruner = "magnitude"
    handle = attach(
        network, pruner, example=inputs[0], readout="12", density=0.4, steps=STEPS,
        granularity=granularity,
    )  # fmt: skip
    network.train()
    for i in range(4):
        at_rest(network)
        for _ in range(STEPS):
            network(inputs[0])
        handle.update((i + 1) / 4)
    assert handle.density < 0.7
    network.eval()
    masked = compare(network, inputs, path)
    handle.compact()
    compacted = compare(network, inputs, path)
    if granularity == "structured":
        assert compacted.nodes["0"].weight.shape[0] < masked.nodes["0"].weight.shape[0]
    else:
        assert (masked.nodes["9"].weight == 0).any()


class Odd(nn.Module):
    """A network whose forward method is given."""

    def __init__(self, forward: Callable[[Any, Tensor], Any], **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)
        self.run = [forward]

    def forward(self, x: Tensor) -> Any:
        return self.run[0](self, x)


def lif(**options: Any) -> nn.Module:
    return snn.Leaky(0.8, init_hidden=True, **options)


def hooked() -> nn.Module:
    network = nn.Sequential(nn.Linear(7, 5), lif())
    network[0].register_forward_hook(lambda module, args, output: 2 * output)
    return network


class Standardised(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return functional.linear(input, self.weight - self.weight.mean())


def gate(net: Any, x: Tensor) -> Tensor:
    return net.b(x) if bool(x.sum() > 0) else net.a(x)


def doubled(net: Any, x: Tensor) -> Tensor:
    y = net.a(x)
    y.view(-1).mul_(2)
    out: Tensor = net.b(y)
    return out


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "relu": (
        lambda: nn.Sequential(nn.Linear(7, 5), nn.ReLU(), lif()),
        "'2' reads the result of 'relu' in module '1'",
    ),
    "layer norm": (lambda: nn.Sequential(nn.LayerNorm(7), lif()), "'layer_norm' in module '0'"),
    "graded": (lambda: nn.Sequential(lif(graded_spikes_factor=2.0)), "'0': its spikes are graded"),
    "sigmoid": (lambda: nn.Sequential(lif(spike_grad=torch.sigmoid)), "'0': it does not spike"),
    "inhibition": (lambda: nn.Sequential(lif(inhibition=True)), "'0': it has lateral inhibition"),
    "late reset": (
        lambda: nn.Sequential(neurons("Synaptic", reset_mechanism="zero")),
        "'0': it loses the input of the step after a spike",
    ),
    "late reset, recurrent": (
        lambda: nn.Sequential(neurons("RSynaptic", 7, reset_mechanism="zero")),
        "'0': it loses the input of the step after a spike.*use reset_mechanism='subtract'$",
    ),
    "alpha": (
        lambda: nn.Sequential(snn.Alpha(0.9, 0.8, init_hidden=True)),
        "'0': there is no node for neurons of type Alpha",
    ),
    "padding": (
        lambda: nn.Sequential(nn.Conv2d(7, 3, 3, padding=1, padding_mode="circular"), lif()),
        "'0': there is no padding of mode circular",
    ),
    "maximum of currents": (
        lambda: nn.Sequential(nn.Conv2d(7, 3, 3), nn.MaxPool2d(2), lif()),
        "'1': NIR has a maximum of spikes only",
    ),
    "hook": (hooked, "'0' has a forward hook"),
    "weights changed": (
        lambda: nn.Sequential(Standardised(7, 5), lif()),
        "'0': there is no node for Standardised",
    ),
    "path": (lambda: Odd(gate, a=nn.Linear(7, 5), b=nn.Linear(7, 5)), "depends on its activity"),
    "view": (lambda: Odd(doubled, a=nn.Linear(7, 5), b=nn.Linear(5, 5)), "'b' reads what 'mul_'"),
    "twice": (
        lambda: Odd(lambda n, x: n.b(n.a(n.a(x))), a=nn.Linear(7, 7), b=lif()),
        "'a' reads other modules at another call",
    ),
    "last step": (
        lambda: Odd(
            lambda n, x: [setattr(n, "last", n.a(x + n.last)), n.b(n.last)][1],
            a=nn.Linear(7, 7, bias=False),
            b=lif(),
        ),
        "'a' reads other modules at another call",
    ),
    "potential": (
        lambda: Odd(lambda n, x: n.b(n.a(x)[1]), a=snn.Leaky(0.8), b=lif()),
        "'b' reads the state of the neurons 'a'",
    ),
    "potential returned": (
        lambda: Odd(lambda n, x: n.a(x)[1], a=snn.Leaky(0.8)),
        "the network returns the state of the neurons 'a'",
    ),
    "constant": (
        lambda: Odd(lambda n, x: n.a(x + 1), a=lif()),
        "'a' reads the result of 'add' in the network's forward method",
    ),
    "doubled": (lambda: Odd(lambda n, x: n.a(x + x), a=lif()), "the result of 'add'"),
    "normalised": (lambda: Odd(lambda n, x: n.a(x / 2), a=lif()), "the result of 'div'"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_nir_cannot_describe_is_refused_by_name(name: str) -> None:
    make, reason = REFUSED[name]
    network = make()
    if name == "last step":
        network.last = 0.0  # type: ignore[assignment]
    shape = (7, 6, 6) if name in ("padding", "maximum of currents") else (7,)
    with pytest.raises(ValueError, match=reason) as caught:
        to_nir(network, draw(2, *shape))
    assert "\n" not in str(caught.value)


def test_surrogates_of_snntorch_are_accepted() -> None:
    for gradient in (surrogate.atan(), surrogate.fast_sigmoid(), surrogate.sigmoid()):
        assert len(to_nir(nn.Sequential(lif(spike_grad=gradient)), draw(2, 7)).nodes) == 5


def test_the_example_of_the_page() -> None:
    (example,) = (
        one.text
        for one in commands("docs/loop.md")
        if one.kind == "python" and "to_nir" in one.text
    )
    found: dict[str, Any] = {}
    exec(example, found)
    assert found["graph"].nodes["0"].weight.shape == found["network"][0].weight.shape
    assert found["handle"].density == pytest.approx(0.5, abs=0.1)
