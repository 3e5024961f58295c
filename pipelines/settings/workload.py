"""Workloads: data, network, time steps, loss and recipe; the same for every method."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from baselines.shared.info import Track
from pipelines.common.errors import InputError
from pipelines.settings.augmentation import Augmentation
from pipelines.settings.network import Execution, NetworkSpec

Loss = Literal["cross-entropy", "mse"]
Normalization = Literal["data", "none", "released"]


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
        Part of the budget over which the learning rate rises from zero.
    schedule
        How it falls: ``cosine``, over what is left of the budget, or ``step``, at once, to
        `step_factor` of what it was after each `step_every` of the whole budget.
    floor
        Learning rate below which it does not fall.
    step_every, step_factor
        See `schedule`.
    loss
        ``cross-entropy`` of the class scores, or their ``mse``: mean squared error to one-hot
        labels.
    augmentation
        Of training samples in training steps; all others are never changed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=2)
    optimizer: Literal["sgd", "adam", "adamw"]
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(0.0, ge=0)
    warmup: float = Field(0.0, ge=0, lt=1)
    schedule: Literal["cosine", "step"] = "cosine"
    floor: float = Field(0.0, ge=0)
    step_every: float = Field(0.1, gt=0, le=1)
    step_factor: float = Field(0.1, gt=0, le=1)
    loss: Loss = "cross-entropy"
    augmentation: Augmentation = Augmentation()


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
    normalization
        What the pixels of images are normalised by: ``data``, the channels of the training split;
        ``none``, so that they stay in [0, 1]; or ``released``, the constants of DPAP's code for
        CIFAR-10, which differ between training and test. Frames of recordings stay as they are.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: str
    network: NetworkSpec
    recipe: Recipe
    execution: Execution = Execution()
    fine_tuning: FineTuning | None = None
    frames: Frames | None = None
    normalization: Normalization = "data"

    @model_validator(mode="after")
    def _fits_the_data(self) -> Workload:
        if self.normalization == "released" and self.data != "cifar-10":
            raise ValueError("the released normalization is that of cifar-10 alone")
        if self.frames is not None and self.normalization != "data":
            raise ValueError("recordings are not normalised; leave normalization out")
        if self.frames is not None and self.recipe.augmentation.of_images:
            raise ValueError("of the augmentation, recordings can have crop, flip and rotation")
        return self

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

    def budget(self, train_samples: int, track: Track = "from-scratch") -> int:
        """Return the training samples that a run of a track may spend, given those of the split."""
        return self.recipe_of(track).epochs * train_samples
