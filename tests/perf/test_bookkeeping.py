"""What DPAP's observation adds to a training step; compare the medians of each group."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

from baselines.activity import Activity
from baselines.api import PruneContext
from dpap import DPAP
from pipelines.core.cell import build_network, build_structure
from pipelines.core.layouts import NetworkSpec

LAYOUTS = {
    "digits": ("16C3-MP2-32C3-MP2-64FC", 8),
    "fashion": ("16C3-32C3-MP2-32C3-64C3-MP2-128FC", 28),
}


@pytest.mark.parametrize("size", LAYOUTS)
@pytest.mark.parametrize("what", ["step", "step and observe", "observe"])
def test_bookkeeping(benchmark: Any, what: str, size: str) -> None:
    torch.set_num_threads(1)
    layout, width = LAYOUTS[size]
    spec = NetworkSpec(kind="snn", layout=layout, time_steps=4)
    network = build_network(spec, (1, width, width), 10, seed=0)
    structure = build_structure(network, "hybrid")
    pruner = DPAP()
    pruner.begin(network, PruneContext(structure, "hybrid", 0.25, torch.Generator(), 4))
    inputs, labels = torch.randn(64, 1, width, width), torch.arange(64) % 10
    recorded = network.run(inputs)[1]

    def step() -> None:
        if what == "observe":
            pruner.observe(Activity(recorded))
            return
        network.zero_grad()
        scores, activity = network.run(inputs)
        if what != "step":
            pruner.observe(Activity(activity))
        functional.cross_entropy(scores, labels).backward()

    benchmark.group = f"bookkeeping, {size}"
    benchmark.pedantic(step, warmup_rounds=3, rounds=60)
