"""What resume points cost: a run stores its state every five minutes, and between steps looks at
the clock.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from baselines.shared.contract import PruneContext
from pipelines.boards.params import Params
from pipelines.data.splits import Split, TrainingData
from pipelines.methods.registry import make
from pipelines.networks.initial import build_network, build_structure
from pipelines.training.budget import BudgetMeter
from pipelines.training.probe import NetworkProbe
from pipelines.training.resume import EVERY, Resume
from pipelines.training.schedule import learning_rate
from pipelines.training.trainer import Trainer

#: Methods that keep most: traces, hidden weights, an optimizer of their own.
KEEPING = [("dpap", "structured"), ("upr", "unstructured"), ("admm", "unstructured")]
SAMPLES = 1024


def trainer_of(params: Params, name: str, granularity: str) -> Trainer:
    """A run of `fashion-snn` after its first eight steps, on images of random pixels."""
    settings = params.workloads["fashion-snn"]
    draw = torch.Generator().manual_seed(0)
    images = torch.rand(SAMPLES, 1, 28, 28, generator=draw)
    split = Split(images, torch.arange(SAMPLES) % 10)
    network = build_network(settings.network, (1, 28, 28), 10, 0, settings.execution)
    structure = build_structure(network, granularity)  # type: ignore[arg-type]
    recipe = settings.recipe.model_copy(
        update={"augmentation": type(settings.recipe.augmentation)()}
    )
    meter = BudgetMeter(10 * SAMPLES)
    probe = NetworkProbe(network, split, recipe.batch_size, meter, draw, recipe.loss)
    pruner = make(name, params.options(name, "fashion-snn", granularity))
    rate = partial(learning_rate, recipe)
    pruner.begin(
        network,
        PruneContext(structure, granularity, 0.25, draw, network.steps, probe, rate),  # type: ignore[arg-type]
    )
    trainer = Trainer(
        network, pruner, structure, TrainingData(split, split, 10), recipe, meter, draw
    )

    class Enough(BaseException):
        pass

    def stop() -> None:
        if meter.phases["training"] >= 8 * recipe.batch_size:
            raise Enough

    trainer.before_step = stop
    with pytest.raises(Enough):
        trainer.run()
    return trainer


@pytest.mark.parametrize(("name", "granularity"), KEEPING)
def test_a_resume_point(
    benchmark: Any, params: Params, tmp_path: Path, name: str, granularity: str
) -> None:
    """The share of a run is the time of one resume point over the time between two of them."""
    benchmark.group = "a resume point of fashion-snn"
    trainer = trainer_of(params, name, granularity)
    resume = Resume(tmp_path / "point.safetensors")
    resume.signals.store = True

    def store() -> None:
        resume.signals.store = True
        resume.before_step(trainer, dict)

    benchmark.pedantic(store, rounds=7, warmup_rounds=1)
    start = time.perf_counter()
    for _ in range(1000):
        resume.before_step(trainer, dict)
    benchmark.extra_info |= {
        "megabytes": round(resume.path.stat().st_size / 2**20, 1),
        "percent of a run": round(100 * benchmark.stats.stats.median / EVERY, 4),
        "microseconds between steps": round(1000 * (time.perf_counter() - start), 2),
    }
