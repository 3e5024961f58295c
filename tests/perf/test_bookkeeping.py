"""What a method adds to a training step: observing, updating, selecting, projecting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from baselines.activity import Activity
from baselines.api import PruneContext
from baselines.masks import Masks
from pipelines.core.cell import build_structure
from pipelines.core.methods import methods
from tests.perf.networks import SIZES, Race, training_step

#: Training steps of a whole run: `digits-snn`, and five epochs of Fashion-MNIST.
RUN = {"digits": 15 * 19, "fashion": 5 * 860}

CASES = [
    (name, granularity)
    for name, kind in methods().items()
    for granularity in kind.info.granularities
    if granularity != "none"
]


def bookkeeping(size: str, name: str, granularity: str) -> Callable[[], None]:
    shape = SIZES[size]
    network = shape.network()
    structure = build_structure(network, granularity)
    method = methods()[name]()
    draw = torch.Generator().manual_seed(0)
    method.begin(network, PruneContext(structure, granularity, 0.25, draw, network.steps))  # type: ignore[arg-type]
    recorded = {k: (a.detach(), b.detach()) for k, (a, b) in network.run(shape.inputs())[1].items()}
    optimizer = torch.optim.AdamW(network.parameters())
    training_step(network, shape.inputs())()
    optimizer.step()
    steps, masks = 0, Masks()

    def step() -> None:
        nonlocal steps, masks
        steps += 1
        if method.info.needs_activity:
            method.observe(Activity(recorded))
        new = method.masks(0.1 + steps / RUN[size])
        masks = masks if new is None else new
        masks.project(network, optimizer)

    return step


@pytest.mark.parametrize("size", RUN)
@pytest.mark.parametrize(("name", "granularity"), CASES)
def test_bookkeeping(race: Race, benchmark: Any, size: str, name: str, granularity: str) -> None:
    benchmark.group = f"bookkeeping, {size}"
    shape = SIZES[size]
    contenders = {
        "training step": training_step(shape.network(), shape.inputs()),
        f"{name}, {granularity}": bookkeeping(size, name, granularity),
    }
    rounds = 120 if size == "digits" else 30
    race(contenders, reference="training step", rounds=rounds, in_turn=False)
