"""Image data sets in memory: how their splits are cut and their pixels normalised."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.common.errors import BenchError
from pipelines.data.normalizer import Normalizer, normalizers
from pipelines.data.splits import Indices, Split, TrainingData, digest, stratified
from pipelines.settings.workload import Normalization

Part = Literal["training", "test"]


@dataclass(frozen=True)
class Images:
    """Images and labels as they are read.

    Parameters
    ----------
    pixels
        [N, C, H, W] uint8.
    labels
        [N] int64.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __getitem__(self, indices: Indices) -> Images:
        return Images(self.pixels[indices], self.labels[indices])


@dataclass(frozen=True)
class ImageDataset(ABC):
    """A data set published as training images and test images.

    Validation images are taken from the training images, the same share of every class, in the
    order of the hashes of their numbers. Each channel of all splits is normalised by its mean and
    standard deviation over the training split, unless a workload says otherwise. Splits hold
    pixels and their normalizer.

    Parameters
    ----------
    name
        Name of the data set, and salt of its split.
    classes
        Number of classes.
    validation
        Number of validation images.
    splits
        SHA-256 of the split indices, or None where it has not been published.
    """

    name: str
    classes: int
    validation: int
    splits: str | None

    @abstractmethod
    def fetch(self, folder: Path) -> None:
        """Put verified files into `folder`; do nothing if they are there."""

    @abstractmethod
    def read(self, folder: Path, part: Part) -> Images:
        """Verify the files of a part and read its images."""

    def load_training(self, folder: Path, normalization: Normalization = "data") -> TrainingData:
        """Read train and validation split.

        Raises
        ------
        BenchError
            If files are missing or damaged, or the split is not the published one.
        """
        images = self._checked(folder, "training")
        validation, train = self._parts(images)
        training, held_out = self._normalizers(images[train], normalization)
        return TrainingData(
            _split(images[train], training), _split(images[validation], held_out), self.classes
        )

    def load_test(self, folder: Path, normalization: Normalization = "data") -> Split:
        """Read the test split; called only by `pipelines.training.evaluation`.

        Raises
        ------
        BenchError
            If files are missing or damaged, or the split is not the published one.
        """
        images = self._checked(folder, "training")
        _, held_out = self._normalizers(images[self._parts(images)[1]], normalization)
        return _split(self._checked(folder, "test"), held_out)

    def _normalizers(self, train: Images, kind: Normalization) -> tuple[Normalizer, Normalizer]:
        return normalizers(kind, 255, *statistics(train.pixels))

    def _parts(self, images: Images) -> list[Indices]:
        """Indices of the validation split and of the train split."""
        parts = stratified(self.name, images.labels, (self.validation,))
        if self.splits not in (None, digest(parts)):
            raise BenchError(
                "the splits are not the published ones; this is a bug, please report it"
            )
        return parts

    def _checked(self, folder: Path, part: Part) -> Images:
        images = self.read(folder, part)
        pixels, labels = images.pixels, images.labels
        repair = f"delete that folder and run: dpap-bench fetch {self.name}"
        if len(pixels) != len(labels):
            raise BenchError(
                f"{folder} has {len(pixels)} {part} images, but {len(labels)} labels; {repair}"
            )
        if labels.max() >= self.classes:
            raise BenchError(
                f"{folder} has a {part} label {labels.max()}, but {self.name} has only the classes "
                f"0 to {self.classes - 1}; {repair}"
            )
        return images


def statistics(pixels: NDArray[np.uint8]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel in [0, 1], computed from its histogram."""
    values = np.arange(256) / 255
    means, deviations = [], []
    for channel in range(pixels.shape[1]):
        # torch counts bytes directly; NumPy would first widen them to eight bytes
        flat = torch.from_numpy(pixels[:, channel].ravel())
        counts = torch.bincount(flat, minlength=256).numpy()
        mean = float(counts @ values / counts.sum())
        means.append(mean)
        deviations.append(float(np.sqrt(counts @ (values - mean) ** 2 / counts.sum())))
    return means, deviations


def _split(images: Images, normalizer: Normalizer) -> Split:
    pixels = np.require(
        images.pixels, requirements="W"
    )  # an array that views a file's bytes is not
    return Split(torch.from_numpy(pixels), torch.from_numpy(images.labels), normalizer)
