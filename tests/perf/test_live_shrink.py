"""What removing dead units during training gains: single steps, and whole runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from baselines.api import PruneContext
from pipelines.core.budget import Budget, BudgetMeter
from pipelines.core.cell import build_network, build_structure
from pipelines.core.data import fetch, load_training
from pipelines.core.data.splits import Split, TrainingData
from pipelines.core.errors import BenchError
from pipelines.core.layouts import Execution
from pipelines.core.methods import methods
from pipelines.core.train import Trainer
from pipelines.grid import Params
from tests.perf.networks import Race, Size, training_step

SHAPE = Size("32C3-MP2-64C3-MP2-128FC", (1, 28, 28), 128, steps=2)  # fashion-snn
#: As live shrink leaves them.
WIDTHS = {1.0: (32, 64, 128), 0.5: (24, 48, 88), 0.25: (16, 32, 64), 0.1: (16, 24, 40)}
#: A seventh of `fashion-snn`'s budget, with as many steps between two updates as there.
SAMPLES, EPOCHS = 12_800, 3
UPDATES = {"dpap": {"updates": 14, "first_update": 1}, "magnitude": {"updates": 14}}


@pytest.mark.parametrize("plan", ["folded", "fused"])
def test_step_over_density(race: Race, benchmark: Any, plan: str) -> None:
    benchmark.group = f"training step over structured density, fashion-snn, {plan}"
    network, inputs = SHAPE.network(plan=plan), SHAPE.inputs()
    contenders = {
        f"density {density}": training_step(network.narrowed(widths), inputs)
        for density, widths in WIDTHS.items()
    }
    race(contenders, reference="density 1.0", rounds=40)


def training(
    params: Params,
    data: TrainingData,
    name: str,
    execution: Execution,
    *,
    epochs: int,
    updates: Mapping[str, int],
) -> Callable[[], float]:
    """A run of `fashion-snn`'s network; it returns the seconds of its training."""
    workload = params.workloads["fashion-snn"]
    granularity = "none" if name == "dense" else "structured"

    def run() -> float:
        network = build_network(workload.network, data.input_shape, 10, 0, execution)
        structure = build_structure(network, granularity)
        pruner = methods()[name](**updates)
        density = 1.0 if name == "dense" else 0.25
        chance = torch.Generator().manual_seed(0)
        pruner.begin(network, PruneContext(structure, granularity, density, chance, network.steps))  # type: ignore[arg-type]
        meter = BudgetMeter(Budget(epochs * len(data.train)))
        order = torch.Generator().manual_seed(0)
        trainer = Trainer(network, pruner, structure, data, workload.recipe, meter, order)
        result = trainer.run()
        assert structure.density(result.masks) == pytest.approx(density, abs=0.02)
        assert bool(result.shrunk_at) is (execution.live_shrink and name != "dense")
        return result.seconds

    return run


def race_runs(
    race: Race, params: Params, data: TrainingData, plan: str, rounds: int, **budget: Any
) -> None:
    live = Execution.model_validate({"plan": plan})
    masked = Execution.model_validate({"plan": plan, "live_shrink": False})
    updates = budget.pop("updates", {})
    contenders = {
        title: training(params, data, name, execution, updates=updates.get(name, {}), **budget)
        for title, name, execution in (
            ("dense", "dense", masked),
            ("dpap, masks alone", "dpap", masked),
            ("dpap, live shrink", "dpap", live),
            ("magnitude, live shrink", "magnitude", live),
        )
    }
    race(contenders, reference="dense", rounds=rounds, warmup=0)


@pytest.mark.parametrize("plan", ["folded", "fused"])
def test_short_run(race: Race, benchmark: Any, params: Params, plan: str) -> None:
    """On inputs of Fashion-MNIST's shape; what they show costs no time."""
    benchmark.group = f"short run, fashion-snn's network, to structured density 0.25, {plan}"
    draw = torch.Generator().manual_seed(0)
    inputs = torch.randn(SAMPLES, 1, 28, 28, generator=draw)
    labels = torch.randint(10, (SAMPLES,), generator=draw)
    data = TrainingData(Split(inputs, labels), Split(inputs[:128], labels[:128]), 10)
    race_runs(race, params, data, plan, rounds=2, epochs=EPOCHS, updates=UPDATES)


def test_whole_run(race: Race, benchmark: Any, params: Params) -> None:
    """`fashion-snn` itself; evaluations are in these times too."""
    benchmark.group = "whole run, fashion-snn, to structured density 0.25, fused"
    root = Path(__file__).parents[2] / "data"
    try:
        fetch("fashion-mnist", root)
    except BenchError as error:
        pytest.skip(str(error))
    data = load_training("fashion-mnist", root)
    epochs = params.workloads["fashion-snn"].recipe.epochs
    race_runs(race, params, data, "fused", rounds=1, epochs=epochs)
