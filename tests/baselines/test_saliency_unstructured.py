"""Saliencies of single weights, by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.grasp import Grasp
from baselines.magnitude import Magnitude
from baselines.random import Random
from baselines.shared.contract import PruneContext
from baselines.shared.gradual_pruner import GradualPruner
from baselines.shared.masks import Masks
from baselines.snip import Snip
from baselines.synflow import SynFlow
from pipelines.data.splits import Split
from pipelines.networks.network import Network
from pipelines.settings.network import NetworkSpec
from pipelines.training.budget import BudgetMeter
from pipelines.training.cell import build_network, build_structure
from pipelines.training.probe import NetworkProbe

LAYOUT = "4C3-MP2-6C3-10FC"


def begun(
    pruner: GradualPruner, density: float, layout: str = LAYOUT, kind: str = "ann", samples: int = 8
) -> tuple[Network, NetworkProbe]:
    """Begin a method on a small network, whose training split has `samples` samples."""
    net = build_network(NetworkSpec(kind=kind, layout=layout, time_steps=2), (1, 4, 4), 3, 0)
    draw = torch.Generator().manual_seed(0)
    split = Split(torch.randn(samples, 1, 4, 4, generator=draw), torch.arange(samples) % 3)
    probe = NetworkProbe(net, split, samples, BudgetMeter(1000), draw)
    structure = build_structure(net, "unstructured")
    pruner.begin(net, PruneContext(structure, "unstructured", density, draw, net.steps, probe))
    return net, probe


def kept(pruner: GradualPruner) -> dict[str, Tensor]:
    masks = pruner.masks(0.0)
    assert isinstance(masks, Masks)
    return dict(masks.parameters)


class _Quadratic:
    """A probe whose loss is a quadratic form of two weights, and whose samples are numbers."""

    def __init__(self, weight: nn.Parameter, matrix: Tensor) -> None:
        self.weight, self.matrix = weight, matrix

    def batches(self, samples: int) -> list[tuple[Tensor, Tensor]]:
        return [(torch.ones(1), torch.zeros(1, dtype=torch.long))] * samples

    def loss(self, inputs: Tensor, labels: Tensor, **_: object) -> Tensor:
        w = self.weight.flatten()
        return 0.5 * w @ self.matrix @ w


def quadratic(pruner: GradualPruner, weight: list[float], matrix: list[list[float]]) -> Tensor:
    """Scores of two weights in a network of one prunable layer."""
    net = build_network(NetworkSpec(kind="ann", layout="1FC"), (1, 1, 2), 2, 0)
    structure, draw = build_structure(net, "unstructured"), torch.Generator()
    with torch.no_grad():
        net.get_parameter("fc1.weight").copy_(torch.tensor([weight]))
    probe = _Quadratic(net.get_parameter("fc1.weight"), torch.tensor(matrix))
    pruner.begin(net, PruneContext(structure, "unstructured", 0.5, draw, 1, probe))  # type: ignore[arg-type]
    return pruner.weight_scores()["fc1"].flatten()


def test_snip_by_hand() -> None:
    # g = H w = (2 * 1 + 1 * -3, 1 * 1 + 4 * -3) = (-1, -11); two samples add up.
    scores = quadratic(Snip(samples=2), [1.0, -3.0], [[2.0, 1.0], [1.0, 4.0]])
    assert scores.tolist() == [2.0, 66.0]


def test_grasp_by_hand_with_its_sign() -> None:
    # g = (-1, -11), H g = (2 * -1 - 11, -1 - 44) = (-13, -45); w * Hg = (-13, 135).
    pruner = Grasp(samples=1)
    scores = quadratic(pruner, [1.0, -3.0], [[2.0, 1.0], [1.0, 4.0]])
    assert scores.tolist() == [-13.0, 135.0]
    # |g|^2 is 122. Without the first weight g = (-3, -12), 153; without the second (2, 1), 5.
    assert kept(pruner)["fc1.weight"].tolist() == [[False, True]], (
        "its removal lets the flow dry up"
    )
    # Two samples: H and g double each.
    both = quadratic(Grasp(samples=2), [1.0, -3.0], [[2.0, 1.0], [1.0, 4.0]])
    assert both.tolist() == [-52.0, 540.0]


@pytest.mark.parametrize("kind", ["snn", "ann"])
def test_snip_is_weight_times_gradient_of_a_training_step(kind: str) -> None:
    pruner = Snip(samples=8)
    net, probe = begun(pruner, 0.5, kind=kind)
    scores = pruner.weight_scores()
    loss = functional.cross_entropy(net.train()(probe.train.inputs), probe.train.labels)
    loss.backward()
    for name, weight in pruner.layer_weights().items():
        assert weight.grad is not None
        torch.testing.assert_close(scores[name], 8 * (weight * weight.grad).detach().abs())
    assert probe.meter.phases == {"saliency": 8}


def test_grasp_divides_the_scores_by_its_temperature_and_pays_twice() -> None:
    pruner = Grasp(samples=8, temperature=10.0)
    net, probe = begun(pruner, 0.5)
    scores = pruner.weight_scores()
    assert probe.meter.phases == {"saliency": 16}
    weights = list(pruner.layer_weights().values())
    logits = net.train()(probe.train.inputs) / 10.0
    loss = functional.cross_entropy(logits, probe.train.labels, reduction="sum")
    flow = torch.autograd.grad(loss, weights, create_graph=True)
    norm = sum(((g * g).sum() for g in flow), torch.zeros(()))
    half = torch.autograd.grad(0.5 * norm, weights)
    for found, weight, slope in zip(scores.values(), weights, half, strict=True):
        torch.testing.assert_close(found, weight.detach() * slope, rtol=1e-3, atol=1e-7)


def test_synflow_by_hand() -> None:
    pruner = SynFlow(rounds=1)
    net, probe = begun(pruner, 0.5, "1C1-AP2-2FC")
    with torch.no_grad():
        net.get_parameter("conv1.weight").fill_(-2.0)
        net.get_parameter("fc1.weight").copy_(torch.tensor([[1.0] * 4, [-3.0] * 4]))
        net.get_parameter("readout.weight").copy_(torch.tensor([[1.0, -1], [1, 0], [0, 0]]))
    # R = 2 * (4 * 1 * (1 + 1) + 4 * 3 * 1) = 40; each weight's score is the part through it.
    scores = pruner.weight_scores()
    assert scores["conv1"].flatten().tolist() == [40.0]
    assert scores["fc1"].tolist() == [[4.0] * 4, [6.0] * 4]
    assert not probe.meter.spent, "without data"


@pytest.mark.parametrize("layout", [LAYOUT, "4C3-AP2-6C3-10FC"])
def test_synflow_conserves_flow_layer_by_layer(layout: str) -> None:
    pruner = SynFlow(rounds=1)
    begun(pruner, 0.5, layout)
    totals = [float(s.sum()) for s in pruner.weight_scores().values()]
    assert len(totals) == 3
    assert totals == pytest.approx([totals[0]] * 3, rel=1e-12)


def test_synflow_in_many_rounds_spares_a_layer_that_one_round_removes() -> None:
    alive = []
    for rounds in (1, 100):
        pruner = SynFlow(rounds=rounds)
        begun(pruner, 0.02, "16C3-MP2-16C3-64FC")
        masks = kept(pruner)
        assert pruner.context.structure.density(Masks(masks)) == pytest.approx(0.02, abs=1e-3)
        alive.append(min(int(mask.sum()) for mask in masks.values()))
    assert alive[0] == 0 < alive[1]


def test_magnitude_by_hand() -> None:
    pruner = Magnitude(start=0.0, stop=0.0)
    net, _ = begun(pruner, 0.4, "1C1-AP2-1FC")  # 1 + 4 weights, of which 2 stay
    with torch.no_grad():
        net.get_parameter("conv1.weight").fill_(0.5)
        net.get_parameter("fc1.weight").copy_(torch.tensor([[0.1, -0.7, 0.3, 0.4]]))
    assert {n: m.flatten().tolist() for n, m in kept(pruner).items()} == {
        "conv1.weight": [True],
        "fc1.weight": [False, True, False, False],
    }


@pytest.mark.parametrize(
    ("scope", "counts"),
    [
        # 36, 216 and 240 of 492 weights; a quarter is 123.
        ("layer-wise", [9, 54, 60]),
        # Sums of dimensions 11, 16 and 34; the first layer has 123 / 61 * 11 = 22 weights.
        ("erk", [22, 32, 69]),
    ],
)
def test_random_by_layer(scope: str, counts: list[int]) -> None:
    pruner = Random(start=0.0, stop=0.0, scope=scope)  # type: ignore[arg-type]
    begun(pruner, 0.25)
    found = [int(mask.sum()) for mask in kept(pruner).values()]
    assert sum(found) == 123
    assert found == pytest.approx(counts, abs=1)


def test_bad_settings_are_refused() -> None:
    for make, reason in [
        (lambda: Snip(samples=0), "samples must be at least 1"),
        (lambda: Grasp(temperature=0.0), "temperature > 0"),
        (lambda: SynFlow(rounds=0), "rounds must be at least 1"),
    ]:
        with pytest.raises(ValueError, match=reason):
            make()
