"""Criteria and penalties for units, each against values worked out by hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import baselines.sca
from baselines.firing_rate import FiringRate
from baselines.fpgm import FPGM
from baselines.grand import Grand
from baselines.group_norm import GroupNorm
from baselines.growing_reg import GrowingReg
from baselines.hessian import Hessian
from baselines.lamp import Lamp, lamp
from baselines.sca import SCA
from baselines.shared.activity import Activity
from baselines.shared.channels import mean_potentials, scale_gradients
from baselines.shared.contract import PruneContext, Pruner
from baselines.shared.groups import UnitGroup
from baselines.shared.masks import Masks
from baselines.slimming import Slimming
from baselines.taylor import Taylor
from pipelines.data.splits import Split
from pipelines.networks.network import Network
from pipelines.networks.plans.folded import Folded
from pipelines.networks.stages import Stage
from pipelines.settings.network import NetworkSpec
from pipelines.training.budget import BudgetMeter
from pipelines.training.cell import build_network, build_structure
from pipelines.training.probe import NetworkProbe


def network(kind: str = "ann", layout: str = "2C3-2FC", weight: float = 2.0) -> Network:
    """Two channels of 2 x 2, two neurons, three classes; all weights equal, gammas 1, shifts 0."""
    net = build_network(NetworkSpec(kind=kind, layout=layout, time_steps=3), (1, 2, 2), 3, 0)
    for parameter in net.parameters():
        if parameter.dim() > 1 and weight:
            nn.init.constant_(parameter, weight)
    return net


def begin(pruner: Any, net: Network, granularity: str = "structured", probe: Any = None) -> Any:
    draw = torch.Generator().manual_seed(0)
    structure = build_structure(net, granularity)
    pruner.begin(net, PruneContext(structure, granularity, 0.5, draw, net.steps, probe))  # type: ignore[arg-type]
    assert isinstance(pruner, Pruner)
    return pruner


class TwoExamples:
    """A probe whose per-example gradients are written here."""

    def __init__(self) -> None:
        self.conv, self.fc, self.readout = (
            torch.zeros(2, *s) for s in [(2, 1, 3, 3), (2, 8), (3, 2)]
        )
        self.conv[0, 0], self.conv[0, 1] = 1, 2  # the first example moves the filters,
        self.readout[0, :, 1] = torch.tensor([3.0, 4.0, 0.0])  # and what reads neuron 1
        self.fc[1, 0, :4], self.fc[1, 0, 4:] = 1, -2  # the second, neuron 0

    def batches(self, samples: int) -> Iterator[tuple[Tensor, Tensor]]:
        for half in range(2):
            yield torch.zeros(1), torch.tensor([half])

    def per_example(self, inputs: Tensor, labels: Tensor) -> Iterator[tuple[str, Tensor]]:
        for name, gradient in [("conv1", self.conv), ("fc1", self.fc), ("readout", self.readout)]:
            yield name, gradient[labels].clone()


def test_grand_is_the_mean_of_norms() -> None:
    pruner = begin(Grand(samples=2), network(), probe=TwoExamples())
    scores = pruner.unit_scores()
    channels = torch.tensor([(3 + 2) / 2, (6 + 4) / 2])  # sqrt(9), sqrt(4); sqrt(36), sqrt(16)
    torch.testing.assert_close(scores["conv1"], channels / channels.mean())
    neurons = torch.tensor([20**0.5 / 2, 5 / 2])
    torch.testing.assert_close(scores["fc1"], neurons / neurons.mean())


def test_grand_of_a_weight_is_the_mean_magnitude() -> None:
    net = network()
    with torch.no_grad():
        net.get_parameter("fc1.weight")[1, 0] = 0
    scores = begin(Grand(samples=2), net, "unstructured", TwoExamples()).weight_scores()
    assert set(scores) == {"conv1", "fc1"}
    assert scores["conv1"][:, 0, 0, 0].tolist() == [0.5, 1]
    assert scores["fc1"][0].tolist() == 4 * [0.5] + 4 * [1]
    assert scores["fc1"][1].tolist() == [-torch.inf] + 7 * [0], "what is gone stays away"


def test_grand_against_one_sample_at_a_time() -> None:
    net = network("snn", weight=0)
    draw = torch.Generator().manual_seed(0)
    split = Split(torch.randn(6, 1, 2, 2, generator=draw), torch.arange(6) % 3)
    probe = NetworkProbe(net, split, 4, BudgetMeter(100), draw)
    pruner = begin(Grand(samples=6), net, probe=probe)
    draw.manual_seed(1)
    found = pruner.unit_scores()["fc1"]
    draw.manual_seed(1)
    wanted = torch.zeros(2)
    for batch in probe.batches(6):
        gradients = dict(probe.per_example(*batch))
        for b in range(len(batch[1])):
            rows, columns = gradients["fc1"][b], gradients["readout"][b]
            for unit in range(2):
                wanted[unit] += torch.cat([rows[unit], columns[:, unit]]).norm()
    torch.testing.assert_close(found, wanted / wanted.mean())


def test_hessian_is_the_diagonal_fisher_over_all_samples() -> None:
    scores = begin(Hessian(samples=2), network(), probe=TwoExamples()).unit_scores()
    # w^2 E[g^2] / 2 with w = 2: nine entries of the filter, four columns of neuron 0
    assert scores["conv1"].tolist() == [9 * 4 * 0.5 / 2 + 4 * 4 * 0.5 / 2, 9 * 4 + 4 * 4]
    assert scores["fc1"].tolist() == [4 * 1 + 4 * 4, 4 * (9 + 16) / 2 / 2]


def test_taylor_squares_the_sum_over_all_a_unit_owns() -> None:
    net = network()
    pruner = begin(Taylor(momentum=0.9), net)
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    net.get_parameter("conv1.weight").grad[0] = 0.5  # type: ignore[index]
    net.get_parameter("conv1_norm.weight").grad[:] = torch.tensor([-4.0, 3.0])  # type: ignore[index]
    net.get_parameter("fc1.weight").grad[0, 4:] = -1  # type: ignore[index]
    pruner.gradients()
    # 9 * (2 * 0.5) - 4, and 3 + 4 * (2 * -1)
    assert pruner.unit_scores()["conv1"].tolist() == [25, 25]
    assert pruner.unit_scores()["fc1"].tolist() == [64, 0]
    net.zero_grad(set_to_none=False)
    pruner.gradients()
    assert pruner.unit_scores()["fc1"].tolist() == pytest.approx([0.9 * 64, 0])


def test_taylor_of_a_weight() -> None:
    net = network()
    pruner = begin(Taylor(), net, "unstructured")
    weight = net.get_parameter("fc1.weight")
    weight.grad = torch.full((2, 8), 3.0)
    with torch.no_grad():
        weight[0, 0] = 0
    pruner.gradients()
    scores = pruner.scores["fc1"]
    assert scores[0, 0] == 0
    assert scores[1].tolist() == 8 * [36]


def test_lamp_by_hand() -> None:
    scores = lamp(torch.tensor([[1.0, -2.0], [3.0, 0.0]]))
    torch.testing.assert_close(
        scores, torch.tensor([[1 / 14, 4 / 13], [1.0, 0.0]], dtype=torch.float64)
    )
    assert lamp(torch.zeros(2, 2)).tolist() == [[0, 0], [0, 0]]


def test_lamp_of_units_shares_the_norms_of_the_group() -> None:
    net = network(weight=1.0)
    with torch.no_grad():
        net.get_parameter("conv1.weight")[0] = 0
        net.get_parameter("fc1.weight")[:, :4] = 0
    # squared norms: 0 + 1 + 0, and 9 + 1 + 8
    scores = begin(Lamp(), net).unit_scores()["conv1"]
    torch.testing.assert_close(scores, torch.tensor([1 / 19, 1.0]))


def test_fpgm_prefers_what_is_far_from_the_others() -> None:
    net = network(layout="2C3-3FC")
    with torch.no_grad():
        rows = net.get_parameter("fc1.weight")
        rows.zero_()
        rows[:, 0] = torch.tensor([1.0, -1.0, 5.0])
    pruner = begin(FPGM(), net)
    scores = pruner.unit_scores()["fc1"]  # distances between squares would make the first two equal
    assert scores.tolist() == [6 / 8, 8 / 8, 10 / 8]
    pruner.alive["fc1"] = torch.tensor([True, True, False])
    assert pruner.unit_scores()["fc1"][:2].tolist() == [1, 1]


def test_slimming_by_hand() -> None:
    net = network()
    with torch.no_grad():
        net.get_parameter("conv1_norm.weight").copy_(torch.tensor([0.5, -2.0]))
    pruner = begin(Slimming(strength=0.1, start=0.5, stop=0.5), net)
    penalty = pruner.penalty()
    assert penalty.item() == pytest.approx(0.1 * (0.5 + 2 + 1 + 1))
    penalty.backward()
    gradient = net.get_parameter("conv1_norm.weight").grad
    torch.testing.assert_close(gradient, torch.tensor([0.1, -0.1]))
    assert net.get_parameter("conv1_norm.bias").grad is None
    assert pruner.unit_scores()["conv1"].tolist() == [0.5, 2]
    assert pruner.masks(0.5) is not None
    assert pruner.penalty() is None, "fine-tuning is free of it"


def test_group_norm_shrinks_weak_units_more() -> None:
    net = network(layout="3C3-2FC")
    pruner = begin(GroupNorm(strength=0.1, alpha=4), net)
    squares, alive = torch.tensor([1.0, 4.0, 9.0]), torch.tensor([True, True, True])
    assert pruner.scaling(squares, alive).tolist() == [16, 4, 1]
    squares, alive = torch.tensor([0.0, 4.0, 9.0]), torch.tensor([False, True, True])
    assert pruner.scaling(squares, alive)[1:].tolist() == [16, 1], "the dead set no scale"
    squares, alive = torch.tensor([0.0, 4.0, 4.0]), torch.tensor([False, True, True])
    assert pruner.scaling(squares, alive).tolist() == [1, 1, 1]
    with torch.no_grad():
        net.get_parameter("conv1.weight")[0] = 4
    gradient = torch.autograd.grad(pruner.penalty(), net.get_parameter("conv1.weight"))[0]
    # the strongest: 0.1 * w; the others: 16 times that
    assert gradient[:, 0, 0, 0].tolist() == pytest.approx([0.1 * 4, 1.6 * 2, 1.6 * 2])


def test_growing_regularisation_presses_the_chosen_alone() -> None:
    net = network()
    with torch.no_grad():
        net.get_parameter("conv1.weight")[1] = 1
        net.get_parameter("readout.weight")[:, 0] = 1
    pruner = begin(GrowingReg(start=0.2, stop=0.6, updates=10, ceiling=1.0), net)
    assert pruner.penalty() is None
    assert pruner.masks(0.2) is None
    assert pruner.penalty().item() == 0
    assert pruner.masks(0.4) is None
    penalty = pruner.penalty()
    weights = [net.get_parameter(f"{n}.weight") for n in ("conv1", "conv1_norm", "fc1", "readout")]
    conv, norm, fc, readout = torch.autograd.grad(penalty, weights)
    assert conv[:, 0, 0, 0].tolist() == pytest.approx([0, 0.5 * 1])
    assert norm.tolist() == pytest.approx([0, 0.5])
    assert fc[:, [0, 4]].flatten().tolist() == pytest.approx([0.5 * 2, 0.5 * 2 * 2, 0, 0.5 * 2])
    assert readout[0].tolist() == pytest.approx([0.5, 0])
    masks = pruner.masks(0.6)
    assert {n: u.tolist() for n, u in masks.units.items()} == {
        "conv1": [True, False],
        "fc1": [False, True],
    }
    assert pruner.penalty() is None


def test_firing_rates_by_hand() -> None:
    pruner = begin(FiringRate(momentum=0.5), network("snn"))
    spikes = torch.zeros(3, 2, 2, 2, 2)
    spikes[0, :, 0] = 1  # channel 0: all 4 places of both samples, at one of 3 steps
    neurons = torch.zeros(3, 2, 2)
    neurons[:, 0, 1] = 1
    pruner.observe(Activity({"conv1": (spikes, spikes), "fc1": (spikes, neurons)}))
    assert pruner.rates["conv1"].tolist() == pytest.approx([4 / 3, 0])
    assert pruner.unit_scores()["fc1"].tolist() == [0, 2]
    silent = {"conv1": (spikes, 0 * spikes), "fc1": (spikes, neurons)}
    pruner.observe(Activity(silent))
    assert pruner.rates["conv1"].tolist() == pytest.approx([2 / 3, 0])


def test_neurons_that_two_layers_drive_count_once() -> None:
    net = network("snn", layout="2C1-[2C1]P-[2C1]-GAP")
    pruner = begin(FiringRate(momentum=0.5), net)
    ones, twos = torch.ones(3, 2, 2, 2, 2), 2 * torch.ones(3, 2, 2, 2, 2)
    sent = {"conv1": ones, "conv2": ones, "conv2_shortcut": ones, "conv3": twos}
    pruner.observe(Activity({name: (ones, post) for name, post in sent.items()}))
    assert pruner.context.structure.group_of("conv2").producers == (
        "conv2",
        "conv2_shortcut",
        "conv3",
    )
    assert pruner.rates["conv2"].tolist() == [4 * (1 + 2)] * 2


class Watched(Folded):
    """The plan ``folded``, which keeps the currents that neurons get."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__(spec)
        self.currents: dict[str, Tensor] = {}

    def fire(self, stage: Stage, current: Tensor) -> Tensor:
        self.currents[stage.name] = current.detach().clone()
        return super().fire(stage, current)


def test_potentials_of_residual_networks() -> None:
    """Against the currents that the neurons really got, in a group of three layers."""
    net = network("snn", layout="3C3-[2C3-3C3]-[4C1]P-[3C1-4C3]", weight=0).train()
    watched = Watched(net.spec)
    net.use(watched)
    draw = torch.Generator().manual_seed(0)
    activity = Activity(net.record(torch.randn(5, 1, 2, 2, generator=draw))[1])
    found = mean_potentials(net, build_structure(net, "structured"), activity)
    wanted, currents = {}, watched.currents
    for stage in net.stages:
        membrane, total = torch.zeros(()), torch.zeros(len(currents[stage.name][0, 0]))
        for t in range(3):
            current = currents[stage.name][t if len(currents[stage.name]) > 1 else 0]
            _, membrane = stage.neuron(current, torch.zeros_like(current) + membrane)
            total += membrane.detach().abs().mean((0, 2, 3)) / 3
        wanted[stage.name] = total
    torch.testing.assert_close(found["conv1"], wanted["conv1"] + wanted["conv3"])
    torch.testing.assert_close(found["conv4"], wanted["conv4"] + wanted["conv6"])
    torch.testing.assert_close(found["conv2"], wanted["conv2"])


def test_potentials_are_those_of_stepping() -> None:
    net = network("snn", layout="3C3", weight=0).train()
    inputs = torch.randn(5, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    found = mean_potentials(
        net, build_structure(net, "structured"), Activity(net.record(inputs)[1])
    )
    states: dict[str, tuple[Tensor, ...]] = {}
    total = torch.zeros(3)
    for _ in range(3):  # a static input: batch norm per step is that over all steps
        net.step(inputs, states)
        total += states["conv1"][0].detach().abs().mean((0, 2, 3)) / 3
    torch.testing.assert_close(found["conv1"], total)


def test_growth_is_the_gradient_of_a_scale_at_zero() -> None:
    net = network("snn", weight=0).train()
    draw = torch.Generator().manual_seed(0)
    split = Split(torch.randn(4, 1, 2, 2, generator=draw), torch.arange(4) % 3)
    probe = NetworkProbe(net, split, 4, BudgetMeter(4), draw)
    structure = build_structure(net, "structured")
    values = {n: p.detach().clone() for n, p in net.named_parameters()}
    masks = structure.masks({"conv1": torch.tensor([True, False]), "fc1": torch.ones(2).bool()})
    found = scale_gradients(probe, structure, values, masks, 4)
    with torch.no_grad():
        net.get_parameter("conv1_norm.weight")[1] = 0
        net.get_parameter("conv1_norm.bias")[1] = 0
    loss = nn.functional.cross_entropy(net(split.inputs), split.labels)
    scales = [net.get_parameter(f"{n}_norm.weight") for n in ("conv1", "fc1")]
    for name, gradient in zip(("conv1", "fc1"), torch.autograd.grad(loss, scales), strict=True):
        torch.testing.assert_close(found[name], gradient.abs(), rtol=1e-4, atol=1e-6)
    assert found["conv1"][1] > 0, "a dead unit asks to come back"
    assert probe.meter.phases == {"saliency": 4}


def test_a_unit_that_comes_back_has_its_values(monkeypatch: pytest.MonkeyPatch) -> None:
    net = network("snn", layout="4C3-4FC", weight=0)
    before = {n: p.detach().clone() for n, p in net.named_parameters()}
    growth: dict[str, Tensor] = {}
    monkeypatch.setattr(baselines.sca, "scale_gradients", lambda *_: growth)
    pruner = begin(SCA(start=0.1, stop=0.9, regrowth=0.5), net, probe=TwoExamples())
    groups: tuple[UnitGroup, ...] = pruner.context.structure.groups

    def update(progress: float, potential: list[float], wanted: list[float]) -> Masks:
        pruner.potentials = {g.name: torch.tensor(potential).float() for g in groups}
        growth.update({g.name: torch.tensor(wanted).float() for g in groups})
        masks: Masks = pruner.masks(progress)
        masks.project(net)
        return masks

    masks = update(0.3, [1, 2, 3, 4], [1, 2, 3, 4])
    assert not masks.units["conv1"][0]
    assert net.get_parameter("conv1.weight")[0].abs().sum() == 0
    with torch.no_grad():
        net.get_parameter("conv1.weight")[3] += 1  # what is alive learns on
    masks = update(0.35, [0, 1, 2, 9], [9, 1, 1, 1])
    assert masks.units["conv1"].tolist()[::3] == [True, True], (
        "pruned units of large gradient return"
    )
    for name in ("conv1.weight", "conv1_norm.weight", "conv1_norm.bias"):
        torch.testing.assert_close(net.get_parameter(name)[0], before[name][0])
    fc = masks.parameters["fc1.weight"]
    torch.testing.assert_close(net.get_parameter("fc1.weight"), before["fc1.weight"] * fc)
    torch.testing.assert_close(
        net.get_parameter("conv1.weight")[3], before["conv1.weight"][3] + 1, msg="not rewound"
    )
    dead = ~masks.units["fc1"]
    assert bool(dead.any())
    masks = update(0.95, [9, 9, 9, 9], [9, 9, 9, 9])
    assert not bool((masks.units["fc1"] & dead).any()), "the last update only prunes"


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (Grand, {"samples": 0}),
        (Hessian, {"samples": 0}),
        (Taylor, {"momentum": 1.0}),
        (FiringRate, {"momentum": -0.1}),
        (Slimming, {"strength": -1.0}),
        (GroupNorm, {"alpha": -1.0}),
        (GrowingReg, {"ceiling": -1.0}),
        (SCA, {"regrowth": 1.0}),
    ],
)
def test_wrong_settings_are_refused(kind: type[Any], wrong: dict[str, float]) -> None:
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        kind(**wrong)
