"""The table of data sets, and where their files lie."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from pipelines.common.errors import InputError, unknown
from pipelines.settings.augmentation import Augmentation

if TYPE_CHECKING:
    from pipelines.data.events import Binning, Events
    from pipelines.data.splits import Samples, Split, TrainingData
    from pipelines.settings.workload import Normalization


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
class Size:
    """How much a data set holds.

    Parameters
    ----------
    shape
        Of one sample, [C, H, W]; of recordings, polarities and sensor.
    classes
        Number of classes.
    train, validation, test
        Samples of each split.
    """

    shape: tuple[int, int, int]
    classes: int
    train: int
    validation: int
    test: int

    def __str__(self) -> str:
        channels, height, width = self.shape
        return (
            f"{channels} x {height} x {width}, {self.classes:,} classes; {self.train:,} train / "
            f"{self.validation:,} validation / {self.test:,} test"
        )


@dataclass(frozen=True)
class Source:
    """A data set.

    Parameters
    ----------
    module
        Its module in this package.
    about
        What it is, in a few words.
    size
        How much it holds.
    events
        Whether it holds recordings of events.
    files
        Whether its images are files of any size, read when they are needed.
    member
        Name of its object, where a module serves several data sets.
    """

    module: str
    about: str
    size: Size
    events: bool = False
    files: bool = False
    member: str = ""

    @property
    def summary(self) -> str:
        """One line about it."""
        return f"{self.about}, {self.size}"

    @property
    def loader(self) -> Loader:
        """The module or its object, imported when it is needed."""
        module = importlib.import_module(f"pipelines.data.sets.{self.module}")
        return cast(Loader, getattr(module, self.member) if self.member else module)

    @property
    def event_loader(self) -> EventLoader:
        """That of a data set of recordings."""
        return cast(EventLoader, self.loader)


SOURCES = {
    "digits": Source("digits", "scikit-learn's digits", Size((1, 8, 8), 10, 1_167, 180, 450)),
    "fashion-mnist": Source(
        "fashion_mnist",
        "Fashion-MNIST",
        Size((1, 28, 28), 10, 55_000, 5_000, 10_000),
        member="FASHION_MNIST",
    ),
    "mnist": Source(
        "mnist", "MNIST digits", Size((1, 28, 28), 10, 55_000, 5_000, 10_000), member="MNIST"
    ),
    "cifar-10": Source(
        "cifar", "CIFAR-10", Size((3, 32, 32), 10, 45_000, 5_000, 10_000), member="CIFAR_10"
    ),
    "cifar-100": Source(
        "cifar", "CIFAR-100", Size((3, 32, 32), 100, 45_000, 5_000, 10_000), member="CIFAR_100"
    ),
    "imagenet": Source(
        "imagenet",
        "ImageNet, cut to one size (put there by hand)",
        Size((3, 224, 224), 1000, 1_231_167, 50_000, 50_000),
        files=True,
        member="IMAGENET",
    ),
    "fashion-dvs": Source(
        "fashion_dvs",
        "Fashion-MNIST as simulated events of three saccades",
        Size((2, 34, 34), 10, 55_000, 5_000, 10_000),
        events=True,
    ),
    "n-mnist": Source(
        "n_mnist",
        "MNIST before an event camera",
        Size((2, 34, 34), 10, 55_000, 5_000, 10_000),
        events=True,
    ),
    "dvs-gesture": Source(
        "tonic_sets",
        "hand gestures before an event camera (needs tonic)",
        Size((2, 128, 128), 11, 967, 110, 264),
        events=True,
        member="DVS_GESTURE",
    ),
    "dvs-gesture-288": Source(
        "dvs_gesture",
        "the same as cut by its authors (put there by hand)",
        Size((2, 128, 128), 11, 1_058, 118, 288),
        events=True,
        member="OFFICIAL",
    ),
    "dvs-gesture-280": Source(
        "dvs_gesture",
        "the same with 280 of these test recordings, as many as DPAP's paper names",
        Size((2, 128, 128), 11, 1_058, 118, 280),
        events=True,
        member="REDUCED",
    ),
    "cifar10-dvs": Source(
        "tonic_sets",
        "CIFAR-10 before an event camera (needs tonic)",
        Size((2, 128, 128), 10, 8_100, 900, 1_000),
        events=True,
        member="CIFAR10_DVS",
    ),
    "shd": Source(
        "tonic_sets",
        "spoken digits as spikes of a model cochlea (needs tonic)",
        Size((1, 1, 700), 20, 7_340, 816, 2_264),
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
    """Test split of a fetched data set; for `pipelines.training.evaluation` alone."""
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
