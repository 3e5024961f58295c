"""The training loop: it calls the hooks of methods, spends the budget, and stops at NaN."""

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
from pipelines.data import load_training
from pipelines.data.splits import Split, TrainingData, batch_sizes
from pipelines.methods import registry
from pipelines.methods.registry import make
from pipelines.settings.network import NetworkSpec
from pipelines.settings.workload import Recipe, Workload
from pipelines.training import live_shrink as shrink
from pipelines.training.budget import BudgetMeter
from pipelines.training.cell import build_network, build_structure, run_cell, stream
from pipelines.training.live_shrink import LiveNetwork
from pipelines.training.probe import NetworkProbe
from pipelines.training.schedule import learning_rate
from pipelines.training.trainer import DivergedError, Trainer, make_optimizer

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
    """Records the calls of its hooks, and progress, weights and gradients of every step."""

    info = PrunerInfo(
        "recorder", "Records.", "none", ("none",), needs_activity=True, needs_gradients=True
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


def test_hooks_are_called_in_order_with_the_gradients_of_the_step() -> None:
    pruner = Recorder()
    run = trainer(pruner)
    run.run()
    assert pruner.calls == ["masks"] + 5 * ["observe", "penalty", "gradients", "masks"]
    assert pruner.progress == [0, 0.2, 0.4, 0.6, 0.8, 1]
    before, after = pruner.weights[:2]
    rate = learning_rate(RECIPE, 0.2)
    torch.testing.assert_close(after, before - rate * pruner.grads[0])  # momentum starts at zero
    assert pruner.grads[0].mean() == pytest.approx(1, abs=0.1), "the penalty adds a gradient of 1"


def test_hooks_that_are_not_declared_are_not_called() -> None:
    class Quiet(Recorder):
        info = PrunerInfo("quiet", "Records less.", "none", ("none",))

    pruner = Quiet()
    trainer(pruner).run()
    assert set(pruner.calls) == {"penalty", "masks"}


@pytest.mark.parametrize("penalty", [False, True])
@pytest.mark.usefixtures("snntorch_in_float64")
def test_a_shrunk_network_has_the_gradients_of_the_masked_network(
    monkeypatch: pytest.MonkeyPatch, penalty: bool
) -> None:
    monkeypatch.setattr(shrink, "MULTIPLE", 1)
    spec = NetworkSpec(kind="snn", layout="8C3-MP2-12FC", time_steps=2)
    net = build_network(spec, (1, 4, 4), 3, 0).double()
    structure = build_structure(net, "structured")
    live = LiveNetwork(net, structure, partial(make_optimizer, recipe=RECIPE), enabled=True)
    units = {g.name: torch.arange(g.size) % 3 > 0 for g in structure.groups}
    live.prune(structure.masks(units), 0.0)
    assert live.shrunk_at == [0.0], "masks before the first step shrink the network immediately"
    x = torch.randn(6, 1, 4, 4, dtype=torch.float64)
    labels = torch.arange(6) % 3

    def backward(network: nn.Module) -> None:
        squares = sum((p.square().sum() for p in net.parameters()), torch.zeros(()))
        loss = nn.functional.cross_entropy(network(x), labels)
        live.backward(loss, squares if penalty else None)

    backward(live.network)
    live.spread_gradients()
    shrunk = {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
    net.zero_grad()
    live.network, small = live.full, live.network
    backward(live.full)
    live.network = small
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None
        kept = structure.masks(units).parameters.get(name, torch.tensor(True))
        torch.testing.assert_close(shrunk[name], parameter.grad * kept, msg=name)


def test_weights_that_a_method_writes_reach_the_shrunk_network() -> None:
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
    assert norms[kept].min() > norms[~kept].max(), "the initial weights decide"
    assert result.shrunk_at == [0.0]
    assert run.structure.density(result.masks) == pytest.approx(0.3, abs=0.08)


def test_gradual_methods_do_nothing_before_the_first_step() -> None:
    for name in ("dpap", "magnitude", "random"):
        pruner = make(name, {})
        trainer(pruner, granularity="structured")
        assert not pruner.due(0.0)


def test_one_shot_pruning_prunes_once() -> None:
    pruner = Magnitude(start=0.3, stop=0.3, updates=1)
    trainer(pruner, granularity="unstructured")
    assert not pruner.due(0.2)
    assert pruner.due(0.4)
    masks = pruner.masks(0.4)
    assert masks is not None
    assert pruner.context.structure.density(masks) == pytest.approx(0.3, abs=0.005)
    assert not pruner.due(1.0)


def test_a_restart_clears_the_optimizer() -> None:
    class Restarting(Pruner):
        info = PrunerInfo("restarting", "Restarts.", "none", ("none",), needs_gradients=True)
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
    """Uses saliency samples once, at some progress."""

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
def test_batches_after_saliency_are_cut_from_the_remaining_budget(
    monkeypatch: pytest.MonkeyPatch, samples: int
) -> None:
    """Every batch has the size that it would have if it were cut when it is needed."""
    run = trainer(Sampling(at=0.4, samples=samples))
    sizes: list[int] = []
    step = Trainer._step

    def checked_step(self: Trainer, inputs: Tensor, labels: Tensor) -> None:
        left = min(40 - sum(sizes), run.meter.remaining)
        assert len(labels) == batch_sizes(left, RECIPE.batch_size)[0]
        sizes.append(len(labels))
        step(self, inputs, labels)

    monkeypatch.setattr(Trainer, "_step", checked_step)
    run.run()
    assert sum(sizes) == 40 - samples


def test_samples_used_by_begin_are_charged(
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


class Watcher(Pruner):
    """Records the progress that it is given, and may set weights to NaN from some progress on."""

    info = PrunerInfo("watcher", "Watches.", "none", ("none",))

    def __init__(self, nan_at: float = 2.0) -> None:
        self.progress: list[float] = []
        self.nan_at = nan_at

    def masks(self, progress: float) -> Masks | None:
        self.progress.append(progress)
        if progress >= self.nan_at:
            with torch.no_grad():
                self.network.get_parameter("readout.weight").fill_(torch.nan)
        return None


def digits_trainer(
    settings: Workload, data_root: Path, pruner: Pruner, samples: int | None = None
) -> Trainer:
    """A trainer on the digits, with the budget of the workload or of some samples."""
    data = load_training(settings.data, data_root)
    network = build_network(settings.network, data.input_shape, data.classes, 0)
    structure = build_structure(network, "none")
    pruner.begin(network, PruneContext(structure, "none", 1.0, stream(0, "method")))
    meter = BudgetMeter(samples if samples else settings.budget(len(data.train)))
    return Trainer(network, pruner, structure, data, settings.recipe, meter, stream(0, "batches"))


def test_training_spends_the_whole_budget(tiny: dict[str, Workload], data_root: Path) -> None:
    pruner = Watcher()
    run = digits_trainer(tiny["digits-ann"], data_root, pruner)
    result = run.run()
    assert run.meter.remaining == 0
    assert run.meter.phases["training"] == 2 * 1167
    assert pruner.progress == sorted(pruner.progress)
    assert pruner.progress[-1] == 1.0
    assert [point.samples for point in result.curve] == [1167, 2 * 1167]
    assert result.curve[-1].seconds == result.seconds > 0


@pytest.mark.parametrize("samples", [1, 63, 64, 65, 1167 + 65])
def test_a_budget_may_end_inside_an_epoch(
    tiny: dict[str, Workload], data_root: Path, samples: int
) -> None:
    run = digits_trainer(tiny["digits-snn"], data_root, Watcher(), samples)
    run.run()
    assert run.meter.spent == samples


def test_a_nan_loss_stops_the_run_and_keeps_its_curve(
    tiny: dict[str, Workload], data_root: Path
) -> None:
    run = digits_trainer(tiny["digits-ann"], data_root, Watcher(nan_at=0.6))
    with pytest.raises(DivergedError, match="loss is nan after"):
        run.run()
    assert len(run.result.curve) == 1


@pytest.mark.parametrize(("nan_at", "epochs"), [(0.5, 0), (1.0, 1)])
def test_nan_weights_after_the_last_step_of_an_epoch_leave_no_nan_in_the_curve(
    tiny: dict[str, Workload], data_root: Path, nan_at: float, epochs: int
) -> None:
    run = digits_trainer(tiny["digits-ann"], data_root, Watcher(nan_at))
    with pytest.raises(DivergedError, match="loss is nan after"):
        run.run()
    assert len(run.result.curve) == epochs
