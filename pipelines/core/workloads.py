"""Workloads: data, network, time steps, loss and recipe; the same for every method."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from pipelines.core.budget import Budget
from pipelines.core.layouts import Execution, NetworkSpec


class Recipe(BaseModel):
    """How every network of a workload is trained.

    Parameters
    ----------
    epochs
        Budget in passes over the training split.
    batch_size
        Samples per step; the last batch of an epoch may be smaller.
    optimizer
        ``sgd`` (momentum 0.9), ``adam`` or ``adamw``.
    learning_rate
        At its peak.
    weight_decay
        The optimizer's own.
    warmup
        Part of the budget over which the learning rate rises from zero; it then falls to zero
        along a cosine.
    loss
        ``cross-entropy`` of the class scores.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=2)
    optimizer: Literal["sgd", "adam", "adamw"]
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(0.0, ge=0)
    warmup: float = Field(0.0, ge=0, lt=1)
    loss: Literal["cross-entropy"] = "cross-entropy"


class Workload(BaseModel):
    """One task on which methods are compared.

    Parameters
    ----------
    data
        Name of a data set.
    network
        What is pruned.
    recipe
        How it is trained.
    execution
        How it is computed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: str
    network: NetworkSpec
    recipe: Recipe
    execution: Execution = Execution()

    def budget(self, train_samples: int) -> Budget:
        """Return the budget of every run, given the size of the training split."""
        return Budget(self.recipe.epochs * train_samples)
