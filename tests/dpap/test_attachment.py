"""DPAP in other people's loops: the right activity, the density asked for, masked == compacted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import snntorch as snn
import torch
from torch import Tensor, nn
from torch.nn import functional

from dpap import DPAP, SpatioTemporalDPAP, attach
from dpap.emitters import Emitter, emitters, undisturbed
from tests.helpers.documents import commands

STEPS = 4

EXAMPLES = [one.text for one in commands("docs/loop.md") if one.kind == "python"]


class Block(nn.Module):
    """torchvision's BasicBlock: one ReLU module, called twice, and an addition in place."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module = nn.Identity()
        if inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += self.downsample(x)
        return self.relu(out)


def resnet18() -> nn.Module:
    """ResNet-18 as it is used on small images: full widths, 3 x 3 stem."""
    blocks: list[nn.Module] = []
    inputs = 64
    for outputs, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        blocks += [Block(inputs, outputs, stride), Block(outputs, outputs)]
        inputs = outputs
    stem = nn.Sequential(nn.Conv2d(1, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU())
    return nn.Sequential(stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.block1 = Block(8, 8)
        self.block2 = Block(8, 12)
        self.readout = nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block2(self.block1(self.stem(x)))
        return self.readout(functional.adaptive_avg_pool2d(x, 1).flatten(1))


class Spiking(nn.Module):
    """snnTorch's tutorial style: membranes in and out, pooling before the neuron."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 12, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(12)
        self.lif1 = snn.Leaky(0.5, learn_beta=True)
        self.fc1 = nn.Linear(12 * 16, 20)
        self.lif2 = snn.Leaky(0.5, reset_mechanism="zero")
        self.fc2 = nn.Linear(20, 10)
        self.lif3 = snn.Leaky(0.5)

    def start(self) -> tuple[Tensor, ...]:
        return tuple(lif.reset_mem() for lif in (self.lif1, self.lif2, self.lif3))

    def forward(
        self, x: Tensor, membranes: tuple[Tensor, ...] | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        one, two, three = membranes or self.start()
        spikes, one = self.lif1(functional.max_pool2d(self.norm1(self.conv1(x)), 2), one)
        spikes, two = self.lif2(self.fc1(spikes.flatten(1)), two)
        spikes, three = self.lif3(self.fc2(spikes), three)
        return spikes, (one, two, three)


class Tutorial(Spiking):
    """The same with the loop over time inside."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        membranes = self.start()
        record = []
        for _ in range(STEPS):
            spikes, membranes = super().forward(x, membranes)
            record.append(spikes)
        return torch.stack(record), membranes[2]


def plain() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1),
        nn.BatchNorm2d(12),
        nn.LeakyReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(12 * 16, 20),
        nn.GELU(),
        nn.Linear(20, 10),
    )


def scores_of(network: Callable[..., Any], x: Tensor, steps: int) -> Tensor:
    """Class scores, [B, 10], of any of the networks above."""
    if steps == 1:
        output = network(x)
        return output[0].mean(0) if isinstance(output, tuple) else output
    total, membranes = torch.zeros(len(x), 10), None
    for _ in range(steps):
        spikes, membranes = network(x, membranes)
        total = total + spikes + membranes[2]
    return total


def batch(samples: int = 16, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    return 2 * torch.randn(samples, 1, 8, 8, dtype=dtype), torch.randint(10, (samples,))


NETWORKS = {
    "spiking": (Spiking, "fc2", STEPS),
    "ann": (plain, "8", 1),
    "residual": (Residual, "readout", 1),
}
LARGE = {"resnet-18": (resnet18, "11", 1)}


def train(
    kind: str, density: float | None = 0.25, *, double: bool = False, batches: int = 30
) -> tuple[nn.Module, Any, torch.optim.Optimizer]:
    torch.manual_seed(0)
    build, readout, steps = (NETWORKS | LARGE)[kind]
    network = build().double() if double else build()
    dtype = torch.float64 if double else torch.float32
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    pruner = DPAP(updates=20)
    x, _ = batch(1, dtype)
    handle = attach(network, pruner, example=x, readout=readout, density=density, steps=steps)
    for now in range(batches):
        x, y = batch(dtype=dtype)
        optimizer.zero_grad()
        functional.cross_entropy(scores_of(network, x, steps), y).backward()
        optimizer.step()
        handle.update((now + 1) / batches, optimizer)
    return network, handle, optimizer


def hooks(network: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules())


def find(network: nn.Module, readout: str, x: Tensor) -> dict[str, Emitter]:
    kinds = (nn.Conv2d, nn.Linear)
    names = [n for n, m in network.named_modules() if isinstance(m, kinds) and n != readout]
    with undisturbed(network):
        return emitters(network, names, lambda: network(x))


def test_pairs_of_a_residual_network() -> None:
    found = find(Residual(), "readout", torch.randn(1, 1, 8, 8))
    first, second = frozenset({0}), frozenset({1})
    assert found == {
        "stem.0": Emitter("stem.2", first, 1),
        "block1.conv1": Emitter("block1.relu", first, 2),
        "block1.conv2": Emitter("block1.relu", second, 2),
        "block2.conv1": Emitter("block2.relu", first, 2),
        "block2.conv2": Emitter("block2.relu", second, 2),
        "block2.downsample.0": Emitter("block2.relu", second, 2),
    }


def test_pairs_where_the_skip_goes_around_the_neuron() -> None:
    class PreActivation(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(1, 4, 3, padding=1)
            self.inner_neuron = snn.Leaky(0.5)
            self.inner = nn.Conv2d(4, 4, 3, padding=1)
            self.last_neuron = snn.Leaky(0.5)
            self.readout = nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            x = x + self.inner(self.inner_neuron(x)[0])
            both = torch.cat([x, functional.dropout(-x)], 1)
            return self.readout(self.last_neuron(both)[0].mean((2, 3)))

    found = find(PreActivation(), "readout", torch.randn(1, 1, 6, 6))
    assert {name: e.neuron for name, e in found.items()} == {
        "stem": "inner_neuron",  # the first that it reaches
        "inner": "last_neuron",
    }


def test_a_loop_inside_the_network_is_followed() -> None:
    found = find(Tutorial(), "fc2", torch.randn(1, 1, 8, 8))
    every = frozenset(range(STEPS))
    assert found == {"conv1": Emitter("lif1", every, 4), "fc1": Emitter("lif2", every, 4)}


def test_a_layer_without_a_neuron_is_named() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(4, 5)
            self.hidden = nn.Linear(5, 5)
            self.relu = nn.ReLU()
            self.readout = nn.Linear(5, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.readout(self.relu(self.hidden(functional.relu(self.first(x)))))

    network = Functional()
    with pytest.raises(ValueError, match=r"'first' reaches no neuron module: put nn\.ReLU, snn"):
        attach(network, DPAP(), example=torch.randn(1, 4), readout="readout")
    assert hooks(network) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"readout": "fc9"}, "readout 'fc9' is none of the network's layers"),
        ({"density": 1.5}, "density must be in"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"granularity": "unstructured"}, "granularity must be one of structured, hybrid"),
        ({"granularity": "spatio-temporal"}, "single time steps cannot be pruned"),
        ({"pruner": SpatioTemporalDPAP()}, "single time steps cannot be pruned"),
    ],
)
def test_what_cannot_work_is_refused(change: dict[str, Any], message: str) -> None:
    options = {"pruner": DPAP(), "readout": "8", "example": torch.randn(1, 1, 8, 8)} | change
    with pytest.raises(ValueError, match=message):
        attach(plain(), **options)


def test_a_network_of_one_layer_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to prune"):
        attach(nn.Sequential(nn.Linear(4, 2)), DPAP(), example=torch.zeros(1, 4), readout="0")


def test_neurons_with_a_parameter_per_unit_are_refused() -> None:
    network = nn.Sequential(nn.Linear(4, 6), snn.Leaky(torch.rand(6)), nn.Linear(6, 2))
    with pytest.raises(ValueError, match=r"'1\.beta' has 6 entries"):
        attach(
            network,
            DPAP(),
            example=torch.randn(1, 4),
            readout="2",
            forward=lambda net, x: net[2](net[1](net[0](x))[0]),
        )


def test_tracing_leaves_the_network_as_it_was() -> None:
    network = Spiking().train()
    network.norm1.eval()  # frozen, as in fine-tuning
    before = {name: value.clone() for name, value in network.state_dict().items()}
    x, random = torch.randn(1, 1, 8, 8), torch.get_rng_state()
    handle = attach(network, DPAP(), example=x, readout="fc2", steps=STEPS)
    assert torch.equal(torch.get_rng_state(), random)
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(lif.mem.shape == (0,) for lif in (network.lif1, network.lif2, network.lif3))
    assert all("reset" not in vars(lif) for lif in (network.lif1, network.lif2, network.lif3))
    assert not any(p.grad is not None for p in network.parameters())
    assert network.training
    assert not network.norm1.training
    handle.detach()
    assert hooks(network) == 0


def test_activity_is_that_of_the_pass() -> None:
    torch.manual_seed(0)
    network, (x, _) = Spiking(), batch()
    handle = attach(network, DPAP(), example=x[:1], readout="fc2", steps=STEPS)
    seen: list[Any] = []
    handle.pruner.observe = seen.append  # type: ignore[method-assign]
    scores_of(network, x, STEPS)
    network.eval()
    scores_of(network, x[:3], STEPS)  # an evaluation does not count
    network.train()
    handle.update(0.1)
    (activity,) = seen
    wanted: dict[str, Any] = {"conv1": [], "fc1": []}
    membranes = network.start()
    for _ in range(STEPS):
        current = functional.max_pool2d(network.norm1(network.conv1(x)), 2)
        one, first = network.lif1(current, membranes[0])
        two, second = network.lif2(network.fc1(one.flatten(1)), membranes[1])
        membranes = (first, second)
        wanted["conv1"].append((x.sum((2, 3)), one.sum((2, 3))))
        wanted["fc1"].append((one.flatten(1), two))
    assert activity.keys() == wanted.keys()
    for name, steps in wanted.items():
        for end in (0, 1):
            assert activity[name][end].shape[:2] == (STEPS, 16)
            assert not activity[name][end].requires_grad
            torch.testing.assert_close(activity[name][end], torch.stack([s[end] for s in steps]))
    assert activity["fc1"][1].any()


def test_a_shared_neuron_gives_each_layer_its_own_call() -> None:
    torch.manual_seed(0)
    network, (x, _) = Residual(), batch()
    handle = attach(network, DPAP(), example=x[:1], readout="readout")
    seen: list[Any] = []
    handle.pruner.observe = seen.append  # type: ignore[method-assign]
    calls: list[Tensor] = []
    network.block1.relu.register_forward_hook(lambda m, a, out: calls.append(out.clone()))
    for _ in range(2):
        network(x)
        handle.update(0.1)
    for activity, inner, outer in zip(seen, calls[::2], calls[1::2], strict=True):
        for name, output in (("conv1", inner), ("conv2", outer)):
            found = activity[f"block1.{name}"][1]
            torch.testing.assert_close(found, output.sum((2, 3)).unsqueeze(0))


def test_hidden_membranes_do_not_lead_into_an_earlier_pass() -> None:
    leaky = [snn.Leaky(0.5, init_hidden=True) for _ in range(2)]
    network = nn.Sequential(nn.Linear(4, 6), leaky[0], nn.Linear(6, 5), leaky[1], nn.Linear(5, 2))
    x = torch.randn(1, 4)
    network(x)
    membranes = [lif.mem for lif in leaky]
    handle = attach(network, DPAP(), example=x, readout="4")
    assert [group.producers for group in handle.structure.groups] == [("0",), ("2",)]
    assert all(lif.mem is before for lif, before in zip(leaky, membranes, strict=True))


@pytest.mark.parametrize("ran", [STEPS - 1, 2 * STEPS])
def test_a_wrong_number_of_steps_is_named(ran: int) -> None:
    network, (x, _) = Spiking(), batch()
    handle = attach(network, DPAP(), example=x[:1], readout="fc2", steps=STEPS)
    scores_of(network, x, ran)
    with pytest.raises(ValueError, match=rf"'conv1' ran {ran} times .* not steps=4 times"):
        handle.update(0.1)


def test_update_without_a_pass_or_with_odd_progress_is_refused() -> None:
    network, (x, _) = plain(), batch()
    handle = attach(network, DPAP(), example=x[:1], readout="8")
    network.eval()(x)
    with pytest.raises(ValueError, match="ran 0 times in training mode"):
        handle.update(0.1)
    with pytest.raises(ValueError, match="progress must be in"):
        handle.update(3)


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_density_is_met_and_masked_weights_stay_zero(kind: str) -> None:
    network, handle, optimizer = train(kind)
    assert handle.density == pytest.approx(0.25, abs=0.03)
    kept = sum(
        int(network.get_parameter(x.weight).count_nonzero()) for x in handle.structure.layers
    )
    assert kept / handle.structure.prunable == pytest.approx(handle.density)
    assert any("bias" in name for name in handle.masks.parameters)
    for name, mask in handle.masks.parameters.items():
        parameter = network.get_parameter(name)
        assert not parameter[~mask].any()
        assert not optimizer.state[parameter]["exp_avg"][~mask].any()


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.usefixtures("snntorch_in_float64")
def test_masked_equals_compacted(kind: str) -> None:
    network, handle, _ = train(kind, double=True)
    same_after_compaction(network, handle)
    handle.compact()  # a second time does nothing
    with pytest.raises(RuntimeError, match="attach to the network again"):
        handle.update(1.0)


@pytest.mark.usefixtures("snntorch_in_float64")
def test_a_whole_resnet_18() -> None:
    network, handle, _ = train("resnet-18", 0.2, double=True, batches=5)
    assert len(handle.structure.layers) == 20
    assert len(handle.structure.groups) == 12, "8 inside the blocks, 4 along the skips"
    assert handle.density == pytest.approx(0.2, abs=0.005)
    same_after_compaction(network, handle)
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(0.2 * 11.17e6, rel=0.03)


def same_after_compaction(network: nn.Module, handle: Any) -> None:
    steps = handle.steps
    x, _ = batch(dtype=torch.float64)
    network.eval()
    before = sum(p.numel() for p in network.parameters())
    with torch.no_grad():
        masked = scores_of(network, x, steps)
        handle.compact()
        assert hooks(network) == 0
        assert sum(p.numel() for p in network.parameters()) < before
        torch.testing.assert_close(scores_of(network, x, steps), masked, rtol=1e-6, atol=1e-6)
    assert masked.std(0).any(), "an output that depends on nothing proves nothing"


def test_without_a_density_it_is_emergent() -> None:
    _, handle, _ = train("ann", None, batches=60)
    assert 0 < handle.density < 1


def test_hybrid_prunes_single_weights_too() -> None:
    torch.manual_seed(0)
    network, (x, y) = plain(), batch()
    handle = attach(
        network, DPAP(updates=10), example=x, readout="8", density=0.1, granularity="hybrid"
    )
    for now in range(10):
        functional.cross_entropy(network(x), y).backward()
        handle.update((now + 1) / 10)
    assert handle.density == pytest.approx(0.1, abs=1e-3)


def test_a_tutorial_network_with_its_loop_inside() -> None:
    torch.manual_seed(0)
    network = Tutorial()
    optimizer = torch.optim.Adam(network.parameters())
    x, y = batch()
    handle = attach(
        network,
        DPAP(updates=10),
        example=x[:1],
        readout="fc2",
        density=0.3,
        steps=STEPS,
        forward=Spiking.forward,
    )
    for now in range(10):
        optimizer.zero_grad()
        functional.cross_entropy(network(x)[0].sum(0), y).backward()
        optimizer.step()
        handle.update((now + 1) / 10, optimizer)
    assert handle.density == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize(("kind", "attach_first"), [("ann", True), ("spiking", False)])
def test_compiled_networks(kind: str, attach_first: bool) -> None:
    torch.manual_seed(0)
    build, readout, steps = (NETWORKS | LARGE)[kind]
    network = build()
    graphs = 0

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        nonlocal graphs
        graphs += 1
        return graph.forward

    torch.compiler.reset()
    compiled = torch.compile(network, backend=backend)
    x, y = batch()
    if not attach_first:
        scores_of(compiled, x, steps)  # compiled without hooks
    target = network if attach_first else compiled
    options: Any = {"example": x[:1], "readout": readout, "density": 0.3, "steps": steps}
    handle = attach(target, DPAP(updates=10), **options)
    optimizer = torch.optim.Adam(network.parameters())
    settled = 0
    for now in range(10):
        optimizer.zero_grad()
        functional.cross_entropy(scores_of(compiled, x, steps), y).backward()
        optimizer.step()
        handle.update((now + 1) / 10, optimizer)
        settled = graphs if now == 2 else settled
    assert graphs == settled > 0, "compiled, and not once more for every batch"
    assert handle.density == pytest.approx(0.3, abs=0.03)
    network.eval()
    with torch.no_grad():
        masked = scores_of(network, x, steps)
        handle.compact()
        found = scores_of(compiled, x, steps)
    torch.testing.assert_close(found, masked, rtol=1e-4, atol=1e-4)


def test_a_detached_network_compiles_whole_again() -> None:
    graphs: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    network, (x, _) = plain(), batch()
    compiled = torch.compile(network, backend=backend)
    handle = attach(compiled, DPAP(), example=x[:1], readout="8")
    compiled(x)
    assert len(graphs) > 1, "hooks break the graph"
    graphs.clear()
    handle.detach()
    compiled(x)
    assert len(graphs) == 1
    assert not any(handle._inputs.values())


@pytest.mark.parametrize("kind", NETWORKS)
def test_automatic_mixed_precision(kind: str) -> None:
    torch.manual_seed(0)
    build, readout, steps = (NETWORKS | LARGE)[kind]
    network, (x, y) = build(), batch()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    pruner = DPAP(updates=10)
    handle = attach(network, pruner, example=x[:1], readout=readout, density=0.3, steps=steps)
    for now in range(10):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = functional.cross_entropy(scores_of(network, x, steps), y)
        loss.backward()
        optimizer.step()
        handle.update((now + 1) / 10, optimizer)
    assert handle.density == pytest.approx(0.3, abs=0.03)
    assert {s.unit_survival.dtype for s in pruner.layers.values()} == {torch.float32}


@pytest.mark.parametrize("example", EXAMPLES, ids=["spiking", "artificial"])
def test_examples_of_the_readme(example: str) -> None:
    torch.manual_seed(0)
    found: dict[str, Any] = {}
    exec(example, found)
    network, handle = found["network"], found["handle"]
    assert handle.density == pytest.approx(0.25, abs=0.01)
    conv, linear = network[0], network[5]
    weights = conv.weight.numel() + linear.weight.numel()
    assert weights / handle.structure.prunable == pytest.approx(handle.density)
    assert network[7].weight.shape == (10, len(linear.weight))
    assert found["loss"] < 1.5
    assert hooks(network) == 0
