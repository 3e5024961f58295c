"""Workloads: data set, network and training recipe, the same for every method."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from baselines.shared.info import Track
from pipelines.common.errors import InputError
from pipelines.settings.augmentation import Augmentation
from pipelines.settings.limits import BATCH, EPOCHS
from pipelines.settings.network import Execution, NetworkSpec
from pipelines.settings.own_data import data_name, own_data

Loss = Literal["cross-entropy", "mse"]
Normalization = Literal["data", "none", "released"]


class Recipe(BaseModel):
    """How every network of a workload is trained.

    Parameters
    ----------
    epochs
        Budget in passes over the training split.
    batch_size
        Samples per training step. The last batch of an epoch may be smaller, or have one more.
    optimizer
        ``sgd`` (momentum 0.9), ``adam`` or ``adamw``.
    learning_rate
        Peak of the learning rate.
    weight_decay
        Weight decay of the optimizer.
    warmup
        Fraction of the budget over which the learning rate rises linearly from zero.
    schedule
        How the learning rate falls after the warm-up. ``cosine``: over the rest of the budget.
        ``step``: it is multiplied by `step_factor` after each `step_every` of the budget.
    floor
        Smallest learning rate after the warm-up.
    step_every
        Fraction of the whole budget between two steps of the ``step`` schedule.
    step_factor
        Factor of each step of the ``step`` schedule.
    loss
        ``cross-entropy`` of the class scores; or ``mse``, their mean squared error to one-hot
        labels.
    augmentation
        Changes of the samples of training steps. Evaluation and saliency use unchanged samples.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    epochs: int = Field(ge=1, le=EPOCHS)
    batch_size: int = Field(ge=2, le=BATCH)
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
    """Changes of the recipe on the post-training track, which starts from a dense checkpoint.

    Parameters
    ----------
    epochs
        Budget in passes over the training split.
    learning_rate
        Peak of the learning rate.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    epochs: int = Field(ge=1, le=EPOCHS)
    learning_rate: float = Field(gt=0)


class Frames(BaseModel):
    """How recordings of events become frames, one for each time step of the network.

    Parameters
    ----------
    by
        ``time``: all frames have the same duration; ``count``: the same number of events.
    values
        Value of a pixel. ``binary``: whether there was an event; ``counts``: the number of events.
    scale
        Downscaling factor: squares of `scale` x `scale` sensor pixels become one pixel.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    by: Literal["time", "count"] = "time"
    values: Literal["binary", "counts"] = "binary"
    scale: int = Field(1, ge=1, le=1024)


class Workload(BaseModel):
    """One task on which methods are compared.

    Parameters
    ----------
    data
        Name of a data set; or a data set of the user's own, see `pipelines.settings.own_data`.
    network
        The network that is pruned.
    recipe
        How the network is trained.
    execution
        How the network is computed.
    fine_tuning
        Changes of the recipe on the post-training track; None if there is no such track.
    frames
        How recordings become frames; None for images.
    normalization
        How pixels of images are normalised. ``data``: by mean and standard deviation of each
        channel of the training split. ``none``: pixels stay in [0, 1]. ``released``: by the
        constants of DPAP's released code for CIFAR-10, which differ between training and test.
        Frames of recordings are never normalised.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    data: str
    network: NetworkSpec
    recipe: Recipe
    execution: Execution = Execution()
    fine_tuning: FineTuning | None = None
    frames: Frames | None = None
    normalization: Normalization = "data"

    @field_validator("data", mode="before")
    @classmethod
    def _named(cls, data: Any) -> Any:
        return data_name(data)

    @model_validator(mode="after")
    def _check_against_own_data(self) -> Workload:
        own = own_data(self.data)
        if own is not None and own.tonic and self.frames is None:
            raise ValueError("say how tonic's recordings become frames: 'frames: {by: time}'")
        if own is not None and own.images and self.frames is not None:
            raise ValueError("images are no recordings; remove 'frames'")
        if self.network.factory and self.execution.plan != "folded":
            raise ValueError("a factory's network computes itself; remove 'plan'")
        return self

    @model_validator(mode="after")
    def _check_against_data(self) -> Workload:
        if self.normalization == "released" and self.data != "cifar-10":
            raise ValueError("normalization released exists for cifar-10 only")
        if self.frames is not None and self.normalization != "data":
            raise ValueError("recordings are never normalised; leave normalization out")
        if self.frames is not None and self.recipe.augmentation.of_images:
            raise ValueError("recordings can have the augmentations crop, flip and rotation only")
        return self

    def recipe_of(self, track: Track) -> Recipe:
        """Return the recipe of a track.

        On the post-training track, `fine_tuning` replaces epochs and learning rate; all else, the
        warm-up included, is as in `recipe`.

        Raises
        ------
        InputError
            If the track is post-training, and the workload has no `fine_tuning`.
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
        """Return the settings that runs of a track depend on: from scratch, without fine-tuning."""
        return self.model_copy(update={"fine_tuning": None}) if track == "from-scratch" else self

    def budget(self, train_samples: int, track: Track = "from-scratch") -> int:
        """Return the budget of a run in training samples.

        Parameters
        ----------
        train_samples
            Size of the training split.
        track
            Track of the run.
        """
        return self.recipe_of(track).epochs * train_samples
