"""Workloads: data, network, time steps, loss and recipe; the same for every method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from baselines.info import Track
from pipelines.core.budget import Budget
from pipelines.core.errors import InputError
from pipelines.core.layouts import Execution, NetworkSpec

if TYPE_CHECKING:
    from pipelines.core.data.events import Binning


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


class FineTuning(BaseModel):
    """What differs from the recipe when a dense checkpoint is trained further.

    Parameters
    ----------
    epochs
        Budget in passes over the training split.
    learning_rate
        At its peak.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int = Field(ge=1)
    learning_rate: float = Field(gt=0)


class Frames(BaseModel):
    """How recordings of events become frames, one for each time step of the network.

    Parameters
    ----------
    by
        ``time``: frames of the same duration; ``count``: of the same number of events.
    values
        ``binary``: whether there was an event; ``counts``: how many.
    scale
        Side of the square of pixels that become one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    by: Literal["time", "count"] = "time"
    values: Literal["binary", "counts"] = "binary"
    scale: int = Field(1, ge=1)


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
    fine_tuning
        How its dense checkpoint is trained further; None where there is no post-training track.
    frames
        How recordings become frames; None for images.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: str
    network: NetworkSpec
    recipe: Recipe
    execution: Execution = Execution()
    fine_tuning: FineTuning | None = None
    frames: Frames | None = None

    @property
    def binning(self) -> Binning | None:
        """How a recording becomes the network's input; None for images."""
        from pipelines.core.data.events import Binning  # with NumPy, which a listing does not need

        if self.frames is None:
            return None
        steps = self.network.time_steps if self.network.kind == "snn" else 1
        return Binning(steps, self.frames.by, self.frames.values, self.frames.scale)

    def recipe_of(self, track: Track) -> Recipe:
        """Return the recipe of a track: fine-tuning is the recipe, warm-up included, but shorter.

        Raises
        ------
        InputError
            If the workload has no fine-tuning, and the track asks for it.
        """
        if track == "from-scratch":
            return self.recipe
        if self.fine_tuning is None:
            raise InputError(
                "this workload has no post-training track; give it 'fine_tuning' (epochs and "
                "learning_rate) in params.yaml, or run it from scratch."
            )
        return self.recipe.model_copy(update=dict(self.fine_tuning))

    def of_track(self, track: str) -> Workload:
        """Return what a run of this track depends on: from scratch, nothing of fine-tuning."""
        return self.model_copy(update={"fine_tuning": None}) if track == "from-scratch" else self

    def budget(self, train_samples: int, track: Track = "from-scratch") -> Budget:
        """Return the budget of every run of a track, given the size of the training split."""
        return Budget(self.recipe_of(track).epochs * train_samples)
