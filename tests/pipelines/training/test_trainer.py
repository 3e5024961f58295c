"""The loop calls the hooks: in order, with right gradients, rates and weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
import torch
from msgspec.structs import replace
from torch import Tensor, nn

from baselines.magnitude import Magnitude
from baselines.shared.contract import Activity, PruneContext, Pruner, PrunerInfo
from baselines.shared.masks import Masks
from pipelines.boards.params import Params
from pipelines.data.splits import Split, TrainingData, batch_sizes
from pipelines.methods import registry
from pipelines.methods.registry import make
from pipelines.settings.network import NetworkSpec
from pipelines.settings.workload import Recipe
from pipelines.training import live_shrink as shrink
from pipelines.training.budget import BudgetMeter
from pipelines.training.cell import build_network, build_structure, run_cell, stream
from pipelines.training.live_shrink import LiveNetwork
from pipelines.training.probe import NetworkProbe
from pipelines.training.schedule import RateSchedule, learning_rate
from pipelines.training.trainer import Trainer, make_optimizer

RECIPE = Recipe(epochs=1, batch_size=8, optimizer="sgd", learning_rate=0.1)


def trainer(
    pruner: Pruner, *, recipe: Recipe = RECIPE, granularity: str = "none", samples: int = 40
) -> Trainer:
    draw = torch.Generator().manual_seed(0)
    spec = NetworkSpec(kind="ann", layout="8C3-MP2-12FC")
    network = build_network(spec, (1, 4, 4), 3, 0)
    split = Split(torch.randn(40, 1, 4, 4, generator=draw), torch.arange(40) % 3)
    structure = build_structure(network, granularity)
    meter = BudgetMeter(samples)
    probe = NetworkProbe(network, split, recipe.batch_size, meter, draw)
    rate = partial(learning_rate, recipe)
    pruner.begin(
        network,
        PruneContext(structure, granularity, 0.3, draw, 1, probe, rate),  # type: ignore[arg-type]
    )
    data = TrainingData(split, split, 3)
    return Trainer(network, pruner, structure, data, recipe, meter, stream(0, "batches"))


@dataclass
class Recorder(Pruner):
    """Notes what is called, and the weights, gradients and rate of every step."""

    info = PrunerInfo(
        "recorder", "Notes.", "none", ("none",), needs_activity=True, needs_gradients=True
    )
    calls: list[str] = field(default_factory=list)
    progress: list[float] = field(default_factory=list)
    weights: list[Tensor] = field(default_factory=list)
    grads: list[Tensor] = field(default_factory=list)

    def observe(self, activity: Activity) -> None:
        self.calls.append("observe")

    def penalty(self) -> Tensor | None:
        self.calls.append("penalty")
        return self.network.get_parameter("fc1.weight").sum()

    def gradients(self) -> None:
        self.calls.append("gradients")
        gradient = self.network.get_parameter("fc1.weight").grad
        assert gradient is not None
        self.grads.append(gradient.clone())

    def masks(self, progress: float) -> Masks | None:
        self.calls.append("masks")
        self.progress.append(progress)
        self.weights.append(self.network.get_parameter("fc1.weight").detach().clone())
        return None


def test_hooks_come_in_order_with_the_gradients_of_the_step() -> None:
    pruner = Recorder()
    run = trainer(pruner)
    run.run()
    assert pruner.calls == ["masks"] + 5 * ["observe", "penalty", "gradients", "masks"]
    assert pruner.progress == [0, 0.2, 0.4, 0.6, 0.8, 1]
    before, after = pruner.weights[:2]
    rate = learning_rate(RECIPE, 0.2)
    torch.testing.assert_close(after, before - rate * pruner.grads[0])  # momentum starts at zero
    assert pruner.grads[0].mean() == pytest.approx(1, abs=0.1), "the penalty's gradient is in it"


def test_hooks_that_are_not_declared_are_not_called() -> None:
    class Quiet(Recorder):
        info = PrunerInfo("quiet", "Notes less.", "none", ("none",))

    pruner = Quiet()
    trainer(pruner).run()
    assert set(pruner.calls) == {"penalty", "masks"}


@pytest.mark.parametrize("penalty", [False, True])
@pytest.mark.usefixtures("snntorch_in_float64")
def test_gradients_of_a_smaller_network_are_those_of_the_masked_one(
    monkeypatch: pytest.MonkeyPatch, penalty: bool
) -> None:
    monkeypatch.setattr(shrink, "MULTIPLE", 1)
    spec = NetworkSpec(kind="snn", layout="8C3-MP2-12FC", time_steps=2)
    net = build_network(spec, (1, 4, 4), 3, 0).double()
    structure = build_structure(net, "structured")
    live = LiveNetwork(net, structure, partial(make_optimizer, recipe=RECIPE), enabled=True)
    units = {g.name: torch.arange(g.size) % 3 > 0 for g in structure.groups}
    live.prune(structure.masks(units), 0.0)
    assert live.shrunk_at == [0.0], "masks before the first step shrink the network at once"
    x = torch.randn(6, 1, 4, 4, dtype=torch.float64)
    labels = torch.arange(6) % 3

    def backward(network: nn.Module) -> None:
        extra = sum((p.square().sum() for p in net.parameters()), torch.zeros(()))
        live.backward(nn.functional.cross_entropy(network(x), labels), extra if penalty else None)

    backward(live.network)
    live.spread_gradients()
    found = {n: p.grad.clone() for n, p in net.named_parameters() if p.grad is not None}
    net.zero_grad()
    live.network, small = live.full, live.network
    backward(live.full)
    live.network = small
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None
        there = structure.masks(units).parameters.get(name, torch.tensor(True))
        torch.testing.assert_close(found[name], parameter.grad * there, msg=name)


def test_what_a_method_writes_reaches_the_smaller_network() -> None:
    class Rewinding(Magnitude):
        written: bool = False

        def due(self, progress: float) -> bool:
            return super().due(progress) or progress >= 0.8

        def masks(self, progress: float) -> Masks | None:
            if progress < 0.8:
                return super().masks(progress)
            for parameter in self.network.parameters():
                nn.init.constant_(parameter, 0.25)
            return None

    recipe = RECIPE.model_copy(update={"learning_rate": 1e-12})
    run = trainer(Rewinding(start=0.0, stop=0.0), recipe=recipe, granularity="structured")
    masks = run.run().masks
    assert run.live.network is not run.live.full
    for name, parameter in run.live.full.named_parameters():
        kept = masks.parameters.get(name, torch.tensor(True)).expand(parameter.shape)
        torch.testing.assert_close(parameter.detach(), 0.25 * kept)


def test_pruning_at_initialisation_comes_before_the_first_step() -> None:
    pruner = Magnitude(start=0.0, stop=0.0)
    run = trainer(pruner, granularity="structured")
    norms = pruner.unit_scores()["conv1"]
    result = run.run()
    kept = result.masks.units["conv1"]
    assert 0 < int(kept.sum()) < 8
    assert norms[kept].min() > norms[~kept].max(), "chosen by the initial weights"
    assert result.shrunk_at == [0.0]
    assert run.structure.density(result.masks) == pytest.approx(0.3, abs=0.08)


def test_existing_methods_do_nothing_before_the_first_step() -> None:
    for name in ("dpap", "magnitude", "random"):
        pruner = make(name, {})
        trainer(pruner, granularity="structured")
        assert not pruner.due(0.0)


def test_one_shot_prunes_once_whatever_the_updates() -> None:
    pruner = Magnitude(start=0.3, stop=0.3, updates=1)
    trainer(pruner, granularity="unstructured")
    assert not pruner.due(0.2)
    assert pruner.due(0.4)
    masks = pruner.masks(0.4)
    assert masks is not None
    assert pruner.context.structure.density(masks) == pytest.approx(0.3, abs=0.005)
    assert not pruner.due(1.0)


def test_rates_with_restarts_by_hand() -> None:
    recipe = RECIPE.model_copy(update={"warmup": 0.2})
    rates = RateSchedule(recipe, (0.5,))
    assert rates.rate(0.05) == pytest.approx(0.05)  # half of the warm-up of the first half
    assert rates.rate(0.1) == pytest.approx(0.1)
    assert rates.rate(0.3) == pytest.approx(0.05)  # half of the cosine
    assert rates.rate(0.52) == 0.0
    assert not rates.restart(0.49)
    assert rates.restart(0.52)
    assert not rates.restart(0.6)
    assert rates.rate(0.52) == 0.0
    assert rates.rate(0.52 + 0.48 * 0.6) == pytest.approx(0.05)
    assert rates.rate(1.0) == pytest.approx(0.0)
    plain = RateSchedule(recipe)
    assert all(plain.rate(p / 7) == learning_rate(recipe, p / 7) for p in range(8))
    for wrong in [(0.0,), (1.0,), (0.5, 0.5), (0.6, 0.4)]:
        with pytest.raises(ValueError, match="restarts must rise"):
            RateSchedule(recipe, wrong)


def test_a_restart_clears_the_optimizer() -> None:
    class Restarting(Pruner):
        info = PrunerInfo("restarting", "Starts anew.", "none", ("none",), needs_gradients=True)
        ages: list[int]
        run: Trainer

        def restarts(self) -> tuple[float, ...]:
            return (0.35,)

        def gradients(self) -> None:
            self.ages.append(max((int(s["step"]) for s in self._states()), default=0))

        def masks(self, progress: float) -> Masks | None:
            return None

        def _states(self) -> list[dict[str, Tensor]]:
            return list(self.run.live.optimizer.state.values())

    pruner = Restarting()
    pruner.ages = []
    pruner.run = trainer(pruner, recipe=RECIPE.model_copy(update={"optimizer": "adam"}))
    pruner.run.run()
    assert pruner.ages == [0, 1, 0, 1, 2]  # progress 0.2, then 0.4 has passed the restart


@dataclass
class Sampling(Pruner):
    """Spends samples at some progress, on a probe that may be used at any time."""

    info = PrunerInfo("sampling", "Samples.", "none", ("none",))
    at: float = 0.0
    samples: int = 11
    sampled: bool = False

    def masks(self, progress: float) -> Masks | None:
        if progress >= self.at and not self.sampled:
            self.sampled = True
            for inputs, labels in self.probe.batches(self.samples):
                loss = self.probe.loss(inputs, labels)
                torch.autograd.grad(loss, list(self.layer_weights().values()))
        return None


@pytest.mark.parametrize("at", [0.0, 0.4])
def test_saliency_takes_samples_from_training(at: float) -> None:
    run = trainer(Sampling(at=at))
    result = run.run()
    assert run.meter.phases == {"saliency": 11, "training": 29}
    assert result.curve[-1].samples == 40


@pytest.mark.parametrize("samples", [2, 7, 11, 19])
def test_batches_after_saliency_are_cut_from_what_is_left(
    monkeypatch: pytest.MonkeyPatch, samples: int
) -> None:
    """As if each batch were cut when it is needed."""
    run = trainer(Sampling(at=0.4, samples=samples))
    sizes: list[int] = []
    step = Trainer._step

    def note(self: Trainer, inputs: Tensor, labels: Tensor) -> None:
        left = min(40 - sum(sizes), run.meter.remaining)
        assert len(labels) == batch_sizes(left, RECIPE.batch_size)[0]
        sizes.append(len(labels))
        step(self, inputs, labels)

    monkeypatch.setattr(Trainer, "_step", note)
    run.run()
    assert sum(sizes) == 40 - samples


def test_a_cell_charges_what_begin_samples(
    monkeypatch: pytest.MonkeyPatch, params: Params, data_root: Path
) -> None:
    class AtOnce(Sampling):
        def begin(self, network: nn.Module, context: PruneContext) -> None:
            super().begin(network, context)
            assert context.learning_rate(1.0) == pytest.approx(0.0)
            self.masks(0.0)

    spec = params.spec("digits-ann", "dense", None, 1.0, 0)
    recipe = spec.settings.recipe.model_copy(update={"epochs": 1})
    settings = spec.settings.model_copy(update={"recipe": recipe})
    spec = replace(spec, settings=settings)
    monkeypatch.setattr(registry, "make", lambda *_: AtOnce(samples=100))
    record = run_cell(spec, data_root)
    assert record.status == "ok", record.message
    assert record.spent == {"saliency": 100, "training": 1167 - 100}
    monkeypatch.setattr(registry, "make", lambda *_: AtOnce(samples=1168))
    record = run_cell(spec, data_root)
    assert record.status == "over-budget"
    assert "asks for 1168 samples, 1167 of 1167 remain" in record.message
