"""Train a small network with a method for a few steps, and record its masks and weights."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from baselines.shared.contract import PruneContext, Pruner
from baselines.shared.masks import Masks
from pipelines.data.splits import Split, TrainingData
from pipelines.settings.network import NetworkSpec
from pipelines.settings.workload import Recipe
from pipelines.training.budget import BudgetMeter
from pipelines.training.cell import build_network, build_structure, stream
from pipelines.training.schedule import learning_rate
from pipelines.training.trainer import Trainer

RECIPE = Recipe(epochs=1, batch_size=8, optimizer="adam", learning_rate=0.02)

DENSITY = 0.3


def small_trainer(pruner: Pruner, steps: int = 40) -> Trainer:
    """Return the training loop of a small network, for some steps of eight samples."""
    draw = torch.Generator().manual_seed(0)
    spec = NetworkSpec(kind="snn", layout="4C3-MP2-12FC", time_steps=2)
    net = build_network(spec, (1, 4, 4), 3, 0)
    split = Split(torch.randn(40, 1, 4, 4, generator=draw), torch.arange(40) % 3)
    structure = build_structure(net, "unstructured")
    rate = partial(learning_rate, RECIPE)
    pruner.begin(net, PruneContext(structure, "unstructured", DENSITY, draw, 2, None, rate))
    meter = BudgetMeter(8 * steps)
    data = TrainingData(split, split, 3)
    return Trainer(net, pruner, structure, data, RECIPE, meter, stream(0, "batches"))


def masks_and_weights(
    pruner: Pruner, steps: int = 40
) -> tuple[list[Masks], list[dict[str, Tensor]]]:
    """Return all masks of a run, and the weights after each step."""
    run, masks, weights = small_trainer(pruner, steps), list[Masks](), list[dict[str, Tensor]]()
    enforce = run.live.prune

    def noting(found: Masks | None, progress: float) -> None:
        enforce(found, progress)
        masks.extend([found] if found else [])
        weights.append({n: w.detach().clone() for n, w in pruner.layer_weights().items()})

    run.live.prune = noting  # type: ignore[method-assign]
    run.run()
    return masks, weights


def count_returns(weights: list[dict[str, Tensor]]) -> int:
    """Count how often a weight became zero and was nonzero again after a later step."""
    total = 0
    for name in weights[0]:
        there = torch.stack([step[name] for step in weights]) != 0
        gone = (there[:-1] & ~there[1:]).cumsum(0) > 0
        total += int((gone[:-1] & ~there[1:-1] & there[2:]).sum())
    return total
