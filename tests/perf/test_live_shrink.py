"""What removing dead units during training gains: single steps, and whole runs."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch

from pipelines.boards.params import Params
from pipelines.networks.network import Network
from pipelines.settings.network import Execution
from pipelines.training.cell import build_network
from tests.perf.networks import Race, Size, training_step
from tests.perf.runs import Run, load

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


@pytest.fixture(scope="module")
def runs(params: Params) -> dict[str, Run]:
    data = load()
    return {
        "dense": Run(params, data, "dense"),
        "dpap, masks alone": Run(params, data, "dpap", live_shrink=False),
        "dpap, live shrink": Run(params, data, "dpap"),
        "magnitude, live shrink": Run(params, data, "magnitude"),
    }


@pytest.fixture(scope="module")
def left() -> dict[str, Network]:
    """The networks that runs have ended with."""
    return {}


def test_whole_run(
    race: Race, benchmark: Any, runs: dict[str, Run], left: dict[str, Network]
) -> None:
    """The runs take turns after each epoch, so that a slow hour slows all of them."""
    benchmark.group = "whole run, fashion-snn, to structured density 0.25"
    trainers = {name: run.trainer() for name, run in runs.items()}
    epochs = {name: trainer.epochs() for name, trainer in trainers.items()}
    contenders = {name: partial(next, turns) for name, turns in epochs.items()}
    race(contenders, reference="dense", rounds=trainers["dense"].recipe.epochs, warmup=0)
    for name, run in runs.items():
        assert not list(epochs[name]), "the budget is spent"
        left[name] = run.end(trainers[name])


@pytest.mark.parametrize("plan", ["folded", "fused"])
def test_step_at_the_end(
    race: Race, benchmark: Any, runs: dict[str, Run], left: dict[str, Network], plan: str
) -> None:
    """Trained networks have fewer spikes, and other ones, than those that are just built."""
    benchmark.group = f"training step of the networks that whole runs end with, {plan}"
    data = runs["dense"].data
    inputs, _ = data.train.batch(torch.arange(SHAPE.batch))
    contenders = {}
    for name, run in runs.items():
        if name not in left:
            trainer = run.trainer()
            trainer.run()
            left[name] = run.end(trainer)
        network = left[name]
        same = build_network(network.spec, data.input_shape, 10, 0, Execution(plan=plan))  # type: ignore[arg-type]
        same.load_state_dict(network.state_dict())
        contenders[name] = training_step(same.train(), inputs)
    race(contenders, reference="dense", rounds=60, warmup=15)  # until memory is dealt out
