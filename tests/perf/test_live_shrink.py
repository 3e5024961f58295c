"""What removing dead units during training gains: single steps, and whole runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from baselines.api import PruneContext
from pipelines.core.budget import Budget, BudgetMeter
from pipelines.core.cell import build_network, build_structure
from pipelines.core.data.splits import Split, TrainingData
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


def training(params: Params, name: str, plan: str, *, live_shrink: bool) -> Callable[[], float]:
    """A whole run on inputs of Fashion-MNIST's shape; what they show costs no time."""
    workload = params.workloads["fashion-snn"]
    draw = torch.Generator().manual_seed(0)
    inputs = torch.randn(SAMPLES, 1, 28, 28, generator=draw)
    labels = torch.randint(10, (SAMPLES,), generator=draw)
    data = TrainingData(Split(inputs, labels), Split(inputs[:128], labels[:128]), 10)
    granularity = "none" if name == "dense" else "structured"
    execution = Execution(plan=plan, live_shrink=live_shrink)  # type: ignore[arg-type]

    def run() -> float:
        network = build_network(workload.network, (1, 28, 28), 10, 0, execution)
        structure = build_structure(network, granularity)
        pruner = methods()[name](**({} if name == "dense" else UPDATES[name]))
        density = 1.0 if name == "dense" else 0.25
        chance = torch.Generator().manual_seed(0)
        pruner.begin(network, PruneContext(structure, granularity, density, chance, network.steps))  # type: ignore[arg-type]
        meter = BudgetMeter(Budget(EPOCHS * SAMPLES))
        order = torch.Generator().manual_seed(0)
        trainer = Trainer(network, pruner, structure, data, workload.recipe, meter, order)
        result = trainer.run()
        assert structure.density(result.masks) == pytest.approx(density, abs=0.02)
        assert bool(result.shrunk_at) is (live_shrink and name != "dense")
        return result.seconds

    return run


@pytest.mark.parametrize("plan", ["folded", "fused"])
def test_run(race: Race, benchmark: Any, params: Params, plan: str) -> None:
    benchmark.group = f"whole run, fashion-snn's network, to structured density 0.25, {plan}"
    contenders = {
        "dense": training(params, "dense", plan, live_shrink=False),
        "dpap, masks alone": training(params, "dpap", plan, live_shrink=False),
        "dpap, live shrink": training(params, "dpap", plan, live_shrink=True),
        "magnitude, live shrink": training(params, "magnitude", plan, live_shrink=True),
    }
    race(contenders, reference="dense", rounds=2, warmup=0)
