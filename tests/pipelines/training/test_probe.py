"""The probe: right gradients, charged before use, no trace left."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from baselines.shared.contract import Probe, PruneContext
from pipelines.data.splits import Split, batch_sizes
from pipelines.methods.registry import make
from pipelines.networks.network import Network
from pipelines.settings.network import Execution, NetworkSpec
from pipelines.training.budget import BudgetExceededError, BudgetMeter
from pipelines.training.cell import build_network, build_structure
from pipelines.training.probe import NetworkProbe

KINDS = pytest.mark.parametrize("kind", ["snn", "ann"])
in_float64 = pytest.mark.usefixtures("snntorch_in_float64")


def network(kind: str, layout: str = "4C3-MP2-5C3-6FC") -> Network:
    spec = NetworkSpec(kind=kind, layout=layout, time_steps=3)
    return build_network(spec, (1, 4, 4), 3, 0, Execution(plan="fused")).double()


def probe(net: Network, budget: int = 10**6, samples: int = 20) -> NetworkProbe:
    draw = torch.Generator().manual_seed(0)
    inputs = torch.randn(samples, *net.input_shape, generator=draw, dtype=torch.float64)
    split = Split(inputs, torch.arange(samples) % 3)
    return NetworkProbe(net, split, 8, BudgetMeter(budget), draw)


def weights(net: Network) -> list[Tensor]:
    return [p for p in net.parameters() if p.dim() > 1]


@KINDS
@in_float64
def test_its_gradients_are_those_of_a_training_step(kind: str) -> None:
    net = network(kind)
    found = probe(net)
    inputs, labels = next(found.batches(8))
    loss = found.loss(inputs, labels)
    wanted = functional.cross_entropy(net.train()(inputs), labels)
    torch.testing.assert_close(loss, wanted)
    parameters = list(net.parameters())
    for one, other in zip(
        torch.autograd.grad(loss, parameters), torch.autograd.grad(wanted, parameters), strict=True
    ):
        torch.testing.assert_close(one, other)
    each = found.loss(inputs, labels, reduction="none")
    assert each.shape == (8,)
    torch.testing.assert_close(each.mean(), wanted)


@KINDS
@in_float64
@pytest.mark.parametrize("training", [True, False])
def test_it_leaves_no_trace(kind: str, training: bool) -> None:
    net = network(kind).train(training)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    chance = torch.random.get_rng_state()
    found = probe(net)
    for inputs, labels in found.batches(20):
        torch.autograd.grad(found.loss(inputs, labels), weights(net))
        assert len(dict(found.per_example(inputs, labels))) == 4
    found.linear(found.example())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())
    assert net.training is training
    assert torch.equal(torch.random.get_rng_state(), chance)


def test_samples_are_charged_before_they_are_seen_and_for_every_pass() -> None:
    found = probe(network("ann"), budget=50)
    phases = found.meter.phases
    batches = found.batches(17)
    assert phases == {"saliency": 17}
    (inputs, labels), *rest = list(batches)
    assert [len(y) for _, y in [(inputs, labels), *rest]] == [8, 9]  # no sample is left alone
    found.loss(inputs, labels)
    found.per_example(*rest[0])
    assert phases == {"saliency": 17}
    found.loss(inputs, labels)
    assert phases == {"saliency": 25}
    found.per_example(inputs[:3], labels[:3])
    assert phases == {"saliency": 28}
    with pytest.raises(BudgetExceededError, match="asks for 23 samples, 22 of 50"):
        found.batches(23)
    found.batches(22)
    with pytest.raises(BudgetExceededError, match="asks for 8 samples, 0 of 50"):
        found.loss(inputs, labels)


def test_no_sample_comes_twice_before_all_came_once() -> None:
    net = network("ann")
    train = torch.randn(20, *net.input_shape, generator=torch.Generator().manual_seed(0))
    split, draw = Split(train, torch.arange(20) % 3), torch.Generator().manual_seed(1)
    found = NetworkProbe(net, split, 8, BudgetMeter(10**6), draw)
    seen = torch.cat([inputs for inputs, _ in found.batches(30)]).flatten(1)
    places = [(train.flatten(1) == row).all(1).nonzero().item() for row in seen]
    assert sorted(places[:20]) == list(range(20))
    assert len(set(places[20:])) == 10
    assert not list(found.batches(0))


def test_batch_sizes() -> None:
    assert batch_sizes(128, 64) == [64, 64]
    assert batch_sizes(130, 64) == [64, 64, 2]
    assert batch_sizes(129, 64) == [64, 65]
    assert batch_sizes(1, 64) == [1]


@in_float64
def test_it_can_be_differentiated_twice() -> None:
    """Hessian times vector, against central differences of gradients; a spike has no limit."""
    net = network("ann", "4C3-AP2-6FC")
    found = probe(net)
    inputs, labels = next(found.batches(8))
    values = weights(net)
    vector = [torch.randn_like(w) for w in values]

    def gradients(step: float) -> tuple[Tensor, ...]:
        moved = {
            name: p + step * vector[[v is p for v in values].index(True)]
            for name, p in net.named_parameters()
            if p.dim() > 1
        }
        loss = found.loss(inputs, labels, parameters=moved)
        return torch.autograd.grad(loss, list(moved.values()), create_graph=True)

    product = sum((g * v).sum() for g, v in zip(gradients(0.0), vector, strict=True))
    assert isinstance(product, Tensor)
    hessian = torch.autograd.grad(product, values)
    for h, up, down in zip(hessian, gradients(1e-6), gradients(-1e-6), strict=True):
        torch.testing.assert_close(h, (up - down) / 2e-6, rtol=1e-4, atol=1e-7)


@in_float64
def test_spikes_can_be_differentiated_twice() -> None:
    """As stepping by snnTorch can; with one layer batch norm is the same at every step."""
    net = network("snn", "4C3-MP2")
    found = probe(net)
    inputs, labels = next(found.batches(8))
    net.execution = Execution(plan="step")
    second = []
    for loss in (found.loss(inputs, labels), functional.cross_entropy(net(inputs), labels)):
        first = torch.autograd.grad(loss, weights(net), create_graph=True)
        second.append(torch.autograd.grad(sum(g.square().sum() for g in first), weights(net)))
    for one, other in zip(*second, strict=True):
        assert one.any()
        torch.testing.assert_close(one, other)


@KINDS
@pytest.mark.parametrize(
    ("layout", "layers"),
    [
        ("4C3-MP2-5C3-6FC", ["conv1", "conv2", "fc1", "readout"]),
        (
            "4C3-[3C3-4C3]-[5C3s2]-GAP",
            ["conv1", "conv2", "conv3", "conv4", "conv4_shortcut", "readout"],
        ),
    ],
)
@in_float64
def test_gradients_per_example_against_a_loop(kind: str, layout: str, layers: list[str]) -> None:
    net = network(kind, layout)
    found = probe(net)
    inputs, labels = next(found.batches(8))
    statistics: dict[torch.nn.Module, tuple[Tensor, Tensor]] = {}
    for norm in (m for n, m in net.named_modules() if n.endswith("norm")):
        norm.register_forward_pre_hook(
            lambda norm, x: statistics.update(
                {norm: torch.var_mean(x[0], _but_1(x[0]), correction=0)}
            )
        )
    net.execution = Execution(plan="folded")
    net.train()(inputs)
    for norm, (variance, mean) in statistics.items():
        norm.running_mean, norm.running_var = mean.detach(), variance.detach()
    net.eval()
    wanted = [  # in twos: torch's batch norm has a wrong gradient for one channels-last sample
        torch.autograd.grad(
            functional.cross_entropy(net(inputs[[i, i]]), labels[[i, i]]), weights(net)
        )
        for i in range(len(labels))
    ]
    gradients = dict(found.per_example(inputs, labels))
    assert list(gradients) == layers
    for found_here, *loop in zip(gradients.values(), *wanted, strict=True):
        torch.testing.assert_close(found_here, torch.stack(loop))


def _but_1(x: Tensor) -> list[int]:
    return [d for d in range(x.dim()) if d != 1]


@KINDS
def test_the_linear_network_by_hand(kind: str) -> None:
    net = network(kind, "2C1-AP2-3FC")
    ones = {name: torch.ones_like(p) for name, p in net.named_parameters()}
    ones["readout.bias"].zero_()
    found = probe(net, budget=1)
    x = found.example() + 1
    assert x.shape == (1, 1, 4, 4)
    # 1 x 1 convolution: 1 everywhere; 2 channels of 2 x 2 make 8 in each of 3 neurons.
    assert found.linear(x, ones).tolist() == [[24.0] * 3]
    ones["fc1.weight"] *= 0.5
    assert found.linear(x, ones).tolist() == [[12.0] * 3]
    assert found.linear(x).std() > 0, "without parameters it uses the network's own"
    assert not found.meter.spent


@KINDS
def test_the_linear_residual_network_by_hand(kind: str) -> None:
    net = network(kind, "1C1-[1C1]-[2C1s2]-GAP")
    ones = {name: torch.ones_like(p) for name, p in net.named_parameters()}
    ones["readout.bias"].zero_()
    ones["conv3_shortcut.weight"] *= 5
    found = probe(net)
    # The identity doubles the stem's 1; both channels get 2 x 1 and 2 x 5; the readout adds up.
    assert found.linear(found.example() + 1, ones).tolist() == [[24.0] * 3]


def test_an_unknown_parameter_is_refused() -> None:
    found = probe(network("ann"))
    with pytest.raises(AttributeError, match="conv9"):
        found.linear(found.example(), {"conv9.weight": torch.ones(1)})


def test_a_method_without_probe_or_rate_is_told() -> None:
    net = network("ann").float()
    pruner = make("random", {})
    draw = torch.Generator()
    pruner.begin(net, PruneContext(build_structure(net, "none"), "unstructured", 0.5, draw))
    with pytest.raises(ValueError, match="method 'random' needs a probe"):
        _ = pruner.probe
    with pytest.raises(ValueError, match="needs a learning rate"):
        pruner.context.learning_rate(0.5)


def test_it_is_what_methods_expect() -> None:
    found: Probe = probe(network("ann"))
    assert found.example().shape == (1, 1, 4, 4)
