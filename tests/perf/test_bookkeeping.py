"""What a method adds to a training step, where it adds it: observing, updating, selecting."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch.nn import functional

from baselines.shared.activity import Activity
from baselines.shared.contract import PruneContext
from baselines.shared.masks import Masks
from pipelines.data.splits import Split
from pipelines.methods.registry import methods
from pipelines.settings.workload import Recipe
from pipelines.training.budget import BudgetMeter
from pipelines.training.cell import build_structure
from pipelines.training.probe import NetworkProbe
from pipelines.training.schedule import learning_rate
from tests.perf.networks import SIZES, compare

RECIPE = Recipe(epochs=1, batch_size=64, optimizer="adamw", learning_rate=0.004)

#: Training steps of a whole run: `digits-snn`, and five epochs of Fashion-MNIST.
RUN = {"digits": 15 * 19, "fashion": 5 * 860}

CASES = [
    (name, granularity)
    for name, kind in methods().items()
    for granularity in kind.info.granularities
    if granularity != "none"
]


def training(size: str, name: str, granularity: str) -> Callable[[], tuple[float, float]]:
    """A step of a run; it returns the seconds of the method, and those of all the rest."""
    shape = SIZES[size]
    network, inputs = shape.network(), shape.inputs()
    labels = torch.arange(len(inputs)) % 10
    structure = build_structure(network, granularity)
    method = methods()[name]()
    draw = torch.Generator().manual_seed(0)
    meter = BudgetMeter(10**9)
    probe = NetworkProbe(network, Split(inputs, labels), len(inputs), meter, draw)
    rate = partial(learning_rate, RECIPE)
    method.begin(
        network,
        PruneContext(structure, granularity, 0.25, draw, network.steps, probe, rate),  # type: ignore[arg-type]
    )
    optimizer = torch.optim.AdamW(network.parameters())
    steps, masks = 0, Masks()

    def step() -> tuple[float, float]:
        nonlocal steps, masks
        steps += 1
        progress = 0.1 + steps / RUN[size]
        start = time.perf_counter()
        optimizer.zero_grad()
        scores, activity = network.run(inputs)
        seen = time.perf_counter()
        if method.info.needs_activity:
            method.observe(Activity(activity))
        penalty = method.penalty()
        penalized = time.perf_counter()
        loss = functional.cross_entropy(scores, labels)
        (loss if penalty is None else loss + penalty).backward()
        backward = time.perf_counter()
        if method.info.needs_gradients:
            method.gradients()
        taken = time.perf_counter()
        optimizer.step()
        due = time.perf_counter()
        new = method.masks(progress) if method.due(progress) else None
        selected = time.perf_counter()
        masks = masks if new is None else new
        masks.project(network, optimizer)
        own = penalized - seen + taken - backward + selected - due
        return own, time.perf_counter() - start - own

    return step


@pytest.mark.parametrize("size", RUN)
@pytest.mark.parametrize(("name", "granularity"), CASES)
def test_bookkeeping(benchmark: Any, size: str, name: str, granularity: str) -> None:
    benchmark.group = f"what a method adds to a training step, {size}"
    step = training(size, name, granularity)
    pairs: list[tuple[float, float]] = []
    rounds = 120 if size == "digits" else 30
    benchmark.pedantic(lambda: pairs.append(step()), rounds=rounds, warmup_rounds=3)
    own, rest = (list(series) for series in zip(*pairs[3:], strict=True))
    reference = "training step"
    benchmark.extra_info |= {"reference": reference, "rounds": rounds}
    benchmark.extra_info["race"] = compare(
        {reference: rest, f"{name}, {granularity}": own}, reference
    )
