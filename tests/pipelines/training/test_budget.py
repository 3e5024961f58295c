"""The budget is charged, refused and spent to the last sample."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from baselines.shared.contract import PruneContext, Pruner, PrunerInfo
from baselines.shared.masks import Masks
from pipelines.data import load_training
from pipelines.settings.workload import Recipe, Workload
from pipelines.training.budget import BudgetExceededError, BudgetMeter
from pipelines.training.cell import build_network, build_structure, stream
from pipelines.training.schedule import learning_rate
from pipelines.training.trainer import DivergedError, Trainer


@given(st.integers(1, 1000), st.lists(st.integers(0, 200), max_size=30))
def test_meter_never_exceeds_its_budget(samples: int, charges: list[int]) -> None:
    meter = BudgetMeter(samples)
    accepted = 0
    for charge in charges:
        before = meter.spent
        try:
            meter.charge(charge, "training")
            accepted += charge
        except BudgetExceededError:
            assert charge > samples - before
        assert meter.spent == accepted <= samples
        assert meter.remaining == samples - accepted
        assert 0 <= meter.progress <= 1


def test_overrun_is_refused_and_costs_nothing() -> None:
    meter = BudgetMeter(100)
    meter.charge(60, "training")
    with pytest.raises(
        BudgetExceededError, match="phase 'saliency' asks for 50 samples, 40 of 100"
    ):
        meter.charge(50, "saliency")
    assert dict(meter.phases) == {"training": 60}
    with pytest.raises(ValueError, match="cannot charge"):
        meter.charge(-1, "training")
    with pytest.raises(ValueError, match="at least one sample"):
        BudgetMeter(0)


class Watcher(Pruner):
    """Notes the progress that it is shown, and may poison the network."""

    info = PrunerInfo("watcher", "Watches.", "none", ("none",))

    def __init__(self, poison_at: float = 2.0) -> None:
        self.progress: list[float] = []
        self.poison_at = poison_at

    def masks(self, progress: float) -> Masks | None:
        self.progress.append(progress)
        if progress >= self.poison_at:
            with torch.no_grad():
                self.network.get_parameter("readout.weight").fill_(torch.nan)
        return None


def trainer(
    settings: Workload, data_root: Path, pruner: Pruner, samples: int | None = None
) -> Trainer:
    data = load_training(settings.data, data_root)
    network = build_network(settings.network, data.input_shape, data.classes, 0)
    structure = build_structure(network, "none")
    pruner.begin(network, PruneContext(structure, "none", 1.0, stream(0, "method")))
    meter = BudgetMeter(samples if samples else settings.budget(len(data.train)))
    return Trainer(network, pruner, structure, data, settings.recipe, meter, stream(0, "batches"))


def test_training_spends_the_whole_budget(tiny: dict[str, Workload], data_root: Path) -> None:
    pruner = Watcher()
    run = trainer(tiny["digits-ann"], data_root, pruner)
    result = run.run()
    assert run.meter.remaining == 0
    assert run.meter.phases["training"] == 2 * 1167
    assert pruner.progress == sorted(pruner.progress)
    assert pruner.progress[-1] == 1.0
    assert [point.samples for point in result.curve] == [1167, 2 * 1167]
    assert result.curve[-1].seconds == result.seconds > 0


@pytest.mark.parametrize("samples", [1, 63, 64, 65, 1167 + 65])
def test_a_budget_that_ends_inside_an_epoch(
    tiny: dict[str, Workload], data_root: Path, samples: int
) -> None:
    run = trainer(tiny["digits-snn"], data_root, Watcher(), samples)
    run.run()
    assert run.meter.spent == samples


def test_nan_loss_stops_the_run_and_keeps_its_curve(
    tiny: dict[str, Workload], data_root: Path
) -> None:
    run = trainer(tiny["digits-ann"], data_root, Watcher(poison_at=0.6))
    with pytest.raises(DivergedError, match="loss is nan after"):
        run.run()
    assert len(run.result.curve) == 1


def test_weights_broken_by_the_last_step_of_an_epoch_leave_no_nan_in_the_curve(
    tiny: dict[str, Workload], data_root: Path
) -> None:
    for poison_at, epochs in ((0.5, 0), (1.0, 1)):
        run = trainer(tiny["digits-ann"], data_root, Watcher(poison_at))
        with pytest.raises(DivergedError, match="loss is nan after"):
            run.run()
        assert len(run.result.curve) == epochs


def test_learning_rate_by_hand() -> None:
    recipe = Recipe(epochs=1, batch_size=2, optimizer="sgd", learning_rate=0.4, warmup=0.2)
    assert learning_rate(recipe, 0.1) == pytest.approx(0.2)
    assert learning_rate(recipe, 0.2) == pytest.approx(0.4)
    assert learning_rate(recipe, 0.6) == pytest.approx(0.2)
    assert learning_rate(recipe, 1.0) == pytest.approx(0.0)
