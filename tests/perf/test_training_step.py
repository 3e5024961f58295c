"""One training step of the folded network against stepping snnTorch; compare their medians."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

from pipelines.core.cell import build_network
from pipelines.core.layouts import NetworkSpec
from pipelines.core.networks import Network


def stepped(network: Network, inputs: torch.Tensor) -> torch.Tensor:
    membranes: dict[str, torch.Tensor] = {}
    return torch.stack([network.step(inputs, membranes) for _ in range(network.steps)]).mean(0)


@pytest.mark.parametrize("size", [8, 28])
@pytest.mark.parametrize("plan", ["folded", "step"])
def test_training_step(benchmark: Any, plan: str, size: int) -> None:
    torch.set_num_threads(1)
    spec = NetworkSpec(kind="snn", layout="16C3-MP2-32C3-MP2-64FC", time_steps=4)
    network = build_network(spec, (1, size, size), 10, seed=0)
    inputs, labels = torch.randn(64, 1, size, size), torch.arange(64) % 10

    def step() -> None:
        network.zero_grad()
        scores = network(inputs) if plan == "folded" else stepped(network, inputs)
        functional.cross_entropy(scores, labels).backward()

    benchmark.group = f"training step, {size} x {size}"
    benchmark.pedantic(step, warmup_rounds=3, rounds=20)
