"""Whole runs of `fashion-snn` that races let take turns, epoch by epoch."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from baselines.shared.contract import PruneContext
from pipelines.boards.params import Params
from pipelines.common.errors import BenchError
from pipelines.data import fetch, load_training
from pipelines.data.splits import Split, TrainingData
from pipelines.methods.registry import methods
from pipelines.networks.network import Network
from pipelines.networks.plans.fused_cpu import FusedCpu
from pipelines.training.budget import BudgetMeter
from pipelines.training.cell import build_network, build_structure
from pipelines.training.trainer import Trainer

WORKLOAD = "fashion-snn"


def load(share: float = 1.0) -> TrainingData:
    """Load a part of both splits; skip the test if the data cannot be fetched."""
    root = Path(__file__).parents[2] / "data"
    try:
        fetch("fashion-mnist", root)
    except BenchError as error:
        pytest.skip(str(error))
    data = load_training("fashion-mnist", root)
    train, validation = (_part(split, share) for split in (data.train, data.validation))
    return TrainingData(train, validation, data.classes)


def _part(split: object, share: float) -> Split:
    assert isinstance(split, Split)
    return split.part(np.arange(round(share * len(split))))


@dataclass(frozen=True)
class Run:
    """A run of `fashion-snn`, without its evaluation on the test split.

    Parameters
    ----------
    params
        The published ones.
    data
        Training and validation split.
    method
        ``dense``, or a method that prunes to `density`.
    density
        Structured.
    live_shrink
        Whether dead units are removed during training.
    kernels
        Kernels of the plan ``fused`` that may be used; None: as in any run.
    """

    params: Params
    data: TrainingData
    method: str
    density: float = 0.25
    live_shrink: bool = True
    kernels: Collection[str] | None = None

    def trainer(self) -> Trainer:
        """Build what trains it."""
        workload, name = self.params.workloads[WORKLOAD], self.method
        execution = workload.execution.model_copy(update={"live_shrink": self.live_shrink})
        granularity, density = ("none", 1.0) if name == "dense" else ("structured", self.density)
        network = build_network(workload.network, self.data.input_shape, 10, 0, execution)
        if self.kernels is not None:
            network.use(FusedCpu(workload.network, self.kernels))
        structure = build_structure(network, granularity)
        pruner = methods()[name](**self.params.methods[name])
        chance = torch.Generator().manual_seed(0)
        pruner.begin(network, PruneContext(structure, granularity, density, chance, network.steps))  # type: ignore[arg-type]
        meter = BudgetMeter(workload.budget(len(self.data.train)))
        order = torch.Generator().manual_seed(0)
        return Trainer(network, pruner, structure, self.data, workload.recipe, meter, order)

    def end(self, trainer: Trainer) -> Network:
        """Return the network that is left when the budget is spent."""
        density, result = (1.0 if self.method == "dense" else self.density), trainer.result
        assert trainer.structure.density(result.masks) == pytest.approx(density, abs=0.02)
        assert bool(result.shrunk_at) is (self.live_shrink and self.method != "dense")
        return trainer.live.network
