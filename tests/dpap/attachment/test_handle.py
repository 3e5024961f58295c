"""DPAP in a user's training loop: activity, density, and masked == compacted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import snntorch as snn
import torch
from torch import Tensor, nn
from torch.nn import functional

from dpap import DPAP, SpatioTemporalDPAP, attach
from tests.helpers import spikingjelly
from tests.helpers.documents import commands
from tests.helpers.user_networks import (
    LARGE,
    NETWORKS,
    STEPS,
    Residual,
    Spiking,
    Tutorial,
    class_scores,
    count_hooks,
    plain_network,
    random_batch,
)

EXAMPLES = [one.text for one in commands("docs/loop.md") if one.kind == "python"]
TRAINED = [text for text in EXAMPLES if "to_nir" not in text]


def train(
    kind: str, density: float | None = 0.25, *, double: bool = False, batches: int = 30
) -> tuple[nn.Module, Any, torch.optim.Optimizer]:
    torch.manual_seed(0)
    build, readout, steps = (NETWORKS | LARGE)[kind]
    network = build().double() if double else build()
    dtype = torch.float64 if double else torch.float32
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    pruner = DPAP(updates=20)
    x, _ = random_batch(1, dtype)
    handle = attach(network, pruner, example=x, readout=readout, density=density, steps=steps)
    for now in range(batches):
        x, y = random_batch(dtype=dtype)
        optimizer.zero_grad()
        functional.cross_entropy(class_scores(network, x, steps), y).backward()
        optimizer.step()
        handle.update((now + 1) / batches, optimizer)
    return network, handle, optimizer


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"readout": "fc9"}, "readout 'fc9' is not one of the network's layers"),
        ({"density": 1.5}, "density must be in"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"granularity": "unstructured"}, "granularity must be one of structured, hybrid"),
        ({"granularity": "spatio-temporal"}, "single time steps cannot be pruned"),
        ({"pruner": SpatioTemporalDPAP()}, "single time steps cannot be pruned"),
    ],
)
def test_wrong_arguments_are_refused(change: dict[str, Any], message: str) -> None:
    options = {"pruner": DPAP(), "readout": "8", "example": torch.randn(1, 1, 8, 8)} | change
    with pytest.raises(ValueError, match=message):
        attach(plain_network(), **options)


def test_a_network_of_one_layer_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to prune"):
        attach(nn.Sequential(nn.Linear(4, 2)), DPAP(), example=torch.zeros(1, 4), readout="0")


def test_tracing_does_not_change_the_network() -> None:
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
    assert count_hooks(network) == 0


def test_activity_matches_the_forward_pass() -> None:
    torch.manual_seed(0)
    network, (x, _) = Spiking(), random_batch()
    handle = attach(network, DPAP(), example=x[:1], readout="fc2", steps=STEPS)
    seen: list[Any] = []
    handle.pruner.observe = seen.append  # type: ignore[method-assign]
    class_scores(network, x, STEPS)
    network.eval()
    class_scores(network, x[:3], STEPS)  # passes in evaluation mode are not recorded
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


def test_a_shared_neuron_module_has_one_call_per_layer() -> None:
    torch.manual_seed(0)
    network, (x, _) = Residual(), random_batch()
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


def test_hidden_membranes_do_not_connect_to_an_earlier_pass() -> None:
    leaky = [snn.Leaky(0.5, init_hidden=True) for _ in range(2)]
    network = nn.Sequential(nn.Linear(4, 6), leaky[0], nn.Linear(6, 5), leaky[1], nn.Linear(5, 2))
    x = torch.randn(1, 4)
    network(x)
    membranes = [lif.mem for lif in leaky]
    handle = attach(network, DPAP(), example=x, readout="4")
    assert [group.producers for group in handle.structure.groups] == [("0",), ("2",)]
    assert all(lif.mem is before for lif, before in zip(leaky, membranes, strict=True))


@pytest.mark.parametrize(("given", "ran"), [(STEPS, STEPS - 1), (STEPS, 6), (None, STEPS)])
def test_a_wrong_number_of_steps_is_refused(given: int | None, ran: int) -> None:
    network, (x, _) = Spiking(), random_batch()
    handle = attach(network, DPAP(), example=x[:1], readout="fc2", steps=given)
    class_scores(network, x, ran)
    wanted = given or 1
    with pytest.raises(ValueError, match=rf"'conv1' ran {ran} times .* not steps={wanted} times"):
        handle.update(0.1)


def test_update_without_a_pass_or_with_wrong_progress_is_refused() -> None:
    network, (x, _) = plain_network(), random_batch()
    handle = attach(network, DPAP(), example=x[:1], readout="8")
    network.eval()(x)
    with pytest.raises(ValueError, match="ran 0 times in training mode"):
        handle.update(0.1)
    with pytest.raises(ValueError, match="progress must be in"):
        handle.update(3)


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_density_is_reached_and_masked_weights_stay_zero(kind: str) -> None:
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


def assert_same_after_compaction(network: nn.Module, handle: Any) -> None:
    steps = handle.steps
    x, _ = random_batch(dtype=torch.float64)
    network.eval()
    before = sum(p.numel() for p in network.parameters())
    with torch.no_grad():
        masked = class_scores(network, x, steps)
        handle.compact()
        assert count_hooks(network) == 0
        assert sum(p.numel() for p in network.parameters()) < before
        torch.testing.assert_close(class_scores(network, x, steps), masked, rtol=1e-6, atol=1e-6)
    assert masked.std(0).any(), "the test needs outputs that depend on the input"


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.usefixtures("snntorch_in_float64")
def test_masked_equals_compacted(kind: str) -> None:
    network, handle, _ = train(kind, double=True)
    assert_same_after_compaction(network, handle)
    handle.compact()  # a second call does nothing
    with pytest.raises(RuntimeError, match="attach to the network again"):
        handle.update(1.0)


@pytest.mark.slow
@pytest.mark.usefixtures("snntorch_in_float64")
def test_a_whole_resnet_18() -> None:
    network, handle, _ = train("resnet-18", 0.2, double=True, batches=5)
    assert len(handle.structure.layers) == 20
    assert len(handle.structure.groups) == 12, "8 inside the blocks, 4 along the skip connections"
    assert handle.density == pytest.approx(0.2, abs=0.005)
    assert_same_after_compaction(network, handle)
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(0.2 * 11.17e6, rel=0.03)


def test_without_a_target_the_density_is_emergent() -> None:
    _, handle, _ = train("ann", None, batches=60)
    assert 0 < handle.density < 1


def test_hybrid_reaches_the_density_with_single_weights() -> None:
    torch.manual_seed(0)
    network, (x, y) = plain_network(), random_batch()
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
    x, y = random_batch()
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


@pytest.mark.slow
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
    x, y = random_batch()
    if not attach_first:
        class_scores(compiled, x, steps)  # compiled without hooks
    target = network if attach_first else compiled
    options: Any = {"example": x[:1], "readout": readout, "density": 0.3, "steps": steps}
    handle = attach(target, DPAP(updates=10), **options)
    optimizer = torch.optim.Adam(network.parameters())
    settled = 0
    for now in range(10):
        optimizer.zero_grad()
        functional.cross_entropy(class_scores(compiled, x, steps), y).backward()
        optimizer.step()
        handle.update((now + 1) / 10, optimizer)
        settled = graphs if now == 2 else settled
    assert graphs == settled > 0, "compiled, but not again for every batch"
    assert handle.density == pytest.approx(0.3, abs=0.03)
    network.eval()
    with torch.no_grad():
        masked = class_scores(network, x, steps)
        handle.compact()
        found = class_scores(compiled, x, steps)
    torch.testing.assert_close(found, masked, rtol=1e-4, atol=1e-4)


def test_a_detached_network_compiles_to_one_graph() -> None:
    graphs: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    network, (x, _) = plain_network(), random_batch()
    compiled = torch.compile(network, backend=backend)
    handle = attach(compiled, DPAP(), example=x[:1], readout="8")
    compiled(x)
    assert len(graphs) > 1, "hooks break the graph"
    graphs.clear()
    handle.detach()
    compiled(x)
    assert len(graphs) == 1


@pytest.mark.parametrize("kind", NETWORKS)
def test_automatic_mixed_precision(kind: str) -> None:
    torch.manual_seed(0)
    build, readout, steps = (NETWORKS | LARGE)[kind]
    network, (x, y) = build(), random_batch()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    pruner = DPAP(updates=10)
    handle = attach(network, pruner, example=x[:1], readout=readout, density=0.3, steps=steps)
    for now in range(10):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = functional.cross_entropy(class_scores(network, x, steps), y)
        loss.backward()
        optimizer.step()
        handle.update((now + 1) / 10, optimizer)
    assert handle.density == pytest.approx(0.3, abs=0.03)
    assert {s.unit_survival.dtype for s in pruner.layers.values()} == {torch.float32}


@pytest.mark.parametrize("example", TRAINED, ids=["snnTorch", "SpikingJelly", "torch", "by name"])
def test_examples_of_the_page(example: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spikingjelly.install(monkeypatch)
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
    assert count_hooks(network) == 0
