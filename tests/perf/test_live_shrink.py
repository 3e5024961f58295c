"""What removing dead units during training gains: single steps, and whole runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from baselines.api import PruneContext
from pipelines.core.budget import BudgetMeter
from pipelines.core.cell import build_network, build_structure
from pipelines.core.data import fetch, load_training
from pipelines.core.data.splits import TrainingData
from pipelines.core.errors import BenchError
from pipelines.core.methods import methods
from pipelines.core.train import Trainer
from pipelines.grid import Params
from tests.perf.networks import Race, Size, training_step

SHAPE = Size("32C3-MP2-64C3-MP2-128FC", (1, 28, 28), 128, steps=2)  # fashion-snn
#: As live shrink leaves them.
WIDTHS = {1.0: (32, 64, 128), 0.5: (24, 48, 88), 0.25: (16, 32, 64), 0.1: (16, 24, 40)}


@pytest.mark.parametrize("plan", ["folded", "fused"])
def test_step_over_density(race: Race, benchmark: Any, plan: str) -> None:
    benchmark.group = f"training step over structured density, fashion-snn, {plan}"
    network, inputs = SHAPE.network(plan=plan), SHAPE.inputs()
    contenders = {
        f"density {density}": training_step(network.narrowed(widths), inputs)
        for density, widths in WIDTHS.items()
    }
    race(contenders, reference="density 1.0", rounds=40, warmup=15)  # until memory is dealt out


def training(
    params: Params, data: TrainingData, name: str, *, live_shrink: bool
) -> Callable[[], None]:
    """A run of `fashion-snn`, without its evaluation on the test split."""
    workload = params.workloads["fashion-snn"]
    execution = workload.execution.model_copy(update={"live_shrink": live_shrink})
    granularity, density = ("none", 1.0) if name == "dense" else ("structured", 0.25)

    def run() -> None:
        network = build_network(workload.network, data.input_shape, 10, 0, execution)
        structure = build_structure(network, granularity)
        pruner = methods()[name](**params.methods[name])
        chance = torch.Generator().manual_seed(0)
        pruner.begin(network, PruneContext(structure, granularity, density, chance, network.steps))  # type: ignore[arg-type]
        meter = BudgetMeter(workload.budget(len(data.train)))
        order = torch.Generator().manual_seed(0)
        trainer = Trainer(network, pruner, structure, data, workload.recipe, meter, order)
        result = trainer.run()
        assert structure.density(result.masks) == pytest.approx(density, abs=0.02)
        assert bool(result.shrunk_at) is (live_shrink and name != "dense")

    return run


def test_whole_run(race: Race, benchmark: Any, params: Params) -> None:
    benchmark.group = "whole run, fashion-snn, to structured density 0.25"
    root = Path(__file__).parents[2] / "data"
    try:
        fetch("fashion-mnist", root)
    except BenchError as error:
        pytest.skip(str(error))
    data = load_training("fashion-mnist", root)
    contenders = {
        "dense": training(params, data, "dense", live_shrink=False),
        "dpap, masks alone": training(params, data, "dpap", live_shrink=False),
        "dpap, live shrink": training(params, data, "dpap", live_shrink=True),
        "magnitude, live shrink": training(params, data, "magnitude", live_shrink=True),
    }
    race(contenders, reference="dense", rounds=1, warmup=0)
