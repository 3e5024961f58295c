"""The table of data sets, and where their files lie."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from pipelines.core.augmentation import Augmentation
from pipelines.core.errors import InputError, unknown

if TYPE_CHECKING:
    from pipelines.core.data.events import Binning, Events
    from pipelines.core.data.splits import Samples, Split, TrainingData
    from pipelines.core.workloads import Normalization


class Loader(Protocol):
    """What a data module offers."""

    def fetch(self, folder: Path) -> None:
        """Put verified files into `folder`; do nothing where they are."""

    def load_training(self, folder: Path, normalization: Normalization = "data") -> TrainingData:
        """Read the train and validation split; what is in memory, as pixels."""

    def load_test(self, folder: Path, normalization: Normalization = "data") -> Samples:
        """Read the test split."""


class EventLoader(Protocol):
    """What a data module of recordings offers."""

    #: Height and width of the sensor.
    SENSOR: tuple[int, int]

    def fetch(self, folder: Path) -> None:
        """Put verified files into `folder`; do nothing where they are."""

    def load_training(self, folder: Path, binning: Binning) -> TrainingData:
        """Read the train and validation split, as frames."""

    def load_test(self, folder: Path, binning: Binning) -> Split:
        """Read the test split, as frames."""

    def recording(self, folder: Path, number: int) -> tuple[int, Events]:
        """Label and events of one training recording."""


@dataclass(frozen=True)
class Source:
    """A data set.

    Parameters
    ----------
    module
        Its module in this package.
    summary
        One line about it.
    events
        Whether it has recordings.
    files
        Whether its images are files of any size, read when they are needed.
    member
        Name of its object, where a module serves several data sets.
    """

    module: str
    summary: str
    events: bool = False
    files: bool = False
    member: str = ""

    @property
    def loader(self) -> Loader:
        """The module or its object, imported when it is needed."""
        module = importlib.import_module(f"pipelines.core.data.{self.module}")
        return cast(Loader, getattr(module, self.member) if self.member else module)

    @property
    def event_loader(self) -> EventLoader:
        """That of a data set of recordings."""
        return cast(EventLoader, self.loader)


SOURCES = {
    "digits": Source(
        "digits",
        "scikit-learn's digits, 8 x 8 grey, 10 classes; 1,167 train / 180 validation / 450 test",
    ),
    "fashion-mnist": Source(
        "fashion_mnist",
        "Fashion-MNIST, 28 x 28 grey, 10 classes; 55,000 train / 5,000 validation / 10,000 test",
        member="FASHION_MNIST",
    ),
    "mnist": Source(
        "mnist",
        "MNIST digits, 28 x 28 grey, 10 classes; 55,000 train / 5,000 validation / 10,000 test",
        member="MNIST",
    ),
    "cifar-10": Source(
        "cifar",
        "CIFAR-10, 32 x 32 colour, 10 classes; 45,000 train / 5,000 validation / 10,000 test",
        member="CIFAR_10",
    ),
    "cifar-100": Source(
        "cifar",
        "CIFAR-100, 32 x 32 colour, 100 classes; 45,000 train / 5,000 validation / 10,000 test",
        member="CIFAR_100",
    ),
    "imagenet": Source(
        "imagenet",
        "ImageNet, colour, cut to 224 x 224, 1,000 classes; 1,231,167 train / 50,000 validation / "
        "50,000 test; put there by hand",
        files=True,
        member="IMAGENET",
    ),
    "fashion-dvs": Source(
        "fashion_dvs",
        "Fashion-MNIST as simulated events of three saccades, 34 x 34, 2 polarities; same splits",
        events=True,
    ),
    "n-mnist": Source(
        "n_mnist",
        "MNIST before an event camera, 34 x 34, 2 polarities, 10 classes; 55,000 train / 5,000 "
        "validation / 10,000 test",
        events=True,
    ),
    "dvs-gesture": Source(
        "tonic_sets",
        "Hand gestures before an event camera, 128 x 128, 2 polarities, 11 classes; 967 train / "
        "110 validation / 264 test; needs tonic",
        events=True,
        member="DVS_GESTURE",
    ),
    "dvs-gesture-288": Source(
        "dvs_gesture",
        "The same as cut by its authors, 128 x 128, 2 polarities, 11 classes; 1,058 train / 118 "
        "validation / 288 test; put there by hand",
        events=True,
        member="OFFICIAL",
    ),
    "dvs-gesture-280": Source(
        "dvs_gesture",
        "The same with 280 of these test recordings, as many as DPAP's paper names; which ones is "
        "our choice",
        events=True,
        member="REDUCED",
    ),
    "cifar10-dvs": Source(
        "tonic_sets",
        "CIFAR-10 before an event camera, 128 x 128, 2 polarities, 10 classes; 8,100 train / 900 "
        "validation / 1,000 test; needs tonic",
        events=True,
        member="CIFAR10_DVS",
    ),
    "shd": Source(
        "tonic_sets",
        "Spoken digits as spikes of a model cochlea, 700 channels, 20 classes; 7,340 train / 816 "
        "validation / 2,264 test; needs tonic",
        events=True,
        member="SHD",
    ),
}


def _source(name: str) -> Source:
    if name not in SOURCES:
        raise unknown("data set", name, SOURCES)
    return SOURCES[name]


def fetch(name: str, root: Path) -> Path:
    """Put the data set `name` under `root` and return its folder.

    Raises
    ------
    InputError
        If there is no such data set.
    BenchError
        If its files cannot be had.
    """
    folder = root / name
    _source(name).loader.fetch(folder)
    return folder


def load_training(
    name: str,
    root: Path,
    binning: Binning | None = None,
    normalization: Normalization = "data",
    augmentation: Augmentation = Augmentation(),  # noqa: B008 -- frozen
) -> TrainingData:
    """Train and validation split of a fetched data set; of recordings, as frames.

    Images in memory are normalised here, unless they are augmented first, batch by batch.

    Raises
    ------
    InputError
        If images of this kind cannot be augmented so.
    """
    source, folder = _source(name), root / name
    if source.events:
        return source.event_loader.load_training(folder, _needed(name, binning))
    data = source.loader.load_training(folder, normalization)
    if augmentation.colours and data.input_shape[0] != 3:
        raise InputError(f"{name} is grey; policy and colour_jitter are for colour images.")
    if augmentation.resized_crop and not source.files:
        raise InputError(f"images of {name} have one size; ask for 'crop', not 'resized_crop'.")
    return data if augmentation != Augmentation() else data.normalized()


def load_test(
    name: str,
    root: Path,
    binning: Binning | None = None,
    normalization: Normalization = "data",
) -> Samples:
    """Test split of a fetched data set; for `pipelines.core.evaluate` alone."""
    source, folder = _source(name), root / name
    if source.events:
        return source.event_loader.load_test(folder, _needed(name, binning))
    return source.loader.load_test(folder, normalization).normalized()


def _needed(name: str, binning: Binning | None) -> Binning:
    if binning is None:
        raise InputError(
            f"'{name}' holds recordings; say in the workload how they become frames, such as "
            "'frames: {by: time}'."
        )
    return binning
