"""The table of data sets, and how they are fetched and loaded."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from pipelines.common.errors import BenchError, InputError, unknown
from pipelines.settings.augmentation import Augmentation
from pipelines.settings.own_data import own_data

if TYPE_CHECKING:
    from pipelines.data.events import Binning, Events
    from pipelines.data.splits import Samples, Split, TrainingData
    from pipelines.settings.workload import Normalization


_test_is_closed = False


class Loader(Protocol):
    """An image data set: a module of `sets`, or an object in one."""

    def fetch(self, folder: Path) -> None:
        """Put verified files into `folder`; do nothing if they are there."""

    def load_training(self, folder: Path, normalization: Normalization = "data") -> TrainingData:
        """Read train and validation split. Images in memory stay pixels."""

    def load_test(self, folder: Path, normalization: Normalization = "data") -> Samples:
        """Read the test split."""


class EventLoader(Protocol):
    """A data set of recordings: a module of `sets`, or an object in one."""

    #: Height and width of the sensor.
    SENSOR: tuple[int, int]

    def fetch(self, folder: Path) -> None:
        """Put verified files into `folder`; do nothing if they are there."""

    def load_training(self, folder: Path, binning: Binning) -> TrainingData:
        """Read train and validation split as frames."""

    def load_test(self, folder: Path, binning: Binning) -> Split:
        """Read the test split as frames."""

    def recording(self, folder: Path, number: int) -> tuple[int, Events]:
        """Read label and events of one training recording."""


class OwnLoader(Protocol):
    """A data set of the user's own."""

    def fetch(self, folder: Path) -> None:
        """Check the samples, and keep them in `folder` if they are not there."""

    def load_training(
        self, folder: Path, normalization: Normalization, binning: Binning | None
    ) -> TrainingData:
        """Read train and validation split."""

    def load_test(
        self, folder: Path, normalization: Normalization, binning: Binning | None
    ) -> Samples:
        """Read the test split."""

    def size(self, folder: Path) -> Size:
        """Count the samples of fetched data."""


@dataclass(frozen=True)
class Size:
    """Size of a data set.

    Parameters
    ----------
    shape
        Shape of one sample, [C, H, W]; for recordings, polarities and sensor.
    classes
        Number of classes.
    train, validation, test
        Samples in each split.
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
    """An entry of the table of data sets.

    Parameters
    ----------
    module
        Module in `pipelines.data.sets`.
    about
        Description in a few words.
    size
        Size of the data set.
    events
        Whether it holds recordings of events.
    files
        Whether its images are streamed from files of different sizes.
    member
        Name of the object in the module; empty if the module itself is the loader.
    """

    module: str
    about: str
    size: Size
    events: bool = False
    files: bool = False
    member: str = ""

    @property
    def summary(self) -> str:
        """Description and size in one line."""
        return f"{self.about}, {self.size}"

    @property
    def loader(self) -> Loader:
        """The module or its object, imported on demand."""
        module = importlib.import_module(f"pipelines.data.sets.{self.module}")
        return cast(Loader, getattr(module, self.member) if self.member else module)

    @property
    def event_loader(self) -> EventLoader:
        """The loader of a data set of recordings."""
        return cast(EventLoader, self.loader)


SOURCES = {
    "digits": Source("digits", "scikit-learn's digits", Size((1, 8, 8), 10, 1_167, 180, 450)),
    "fashion-mnist": Source(
        "fashion_mnist",
        "Fashion-MNIST",
        Size((1, 28, 28), 10, 55_000, 5_000, 10_000),
        member="FASHION_MNIST",
    ),
    "fashion-tuning": Source(
        "fashion_tuning",
        "the first of Fashion-MNIST's training images, halved, for tuning alone",
        Size((1, 14, 14), 10, 3_000, 2_000, 0),
        member="FASHION_TUNING",
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
    "cifar-10-jpeg": Source(
        "cifar_jpeg",
        "CIFAR-10 in lossy JPEG files",
        Size((3, 32, 32), 10, 45_000, 5_000, 10_000),
        member="CIFAR_10_JPEG",
    ),
    "imagenet": Source(
        "imagenet",
        "ImageNet, cut to one size (put there by hand)",
        Size((3, 224, 224), 1000, 1_231_167, 50_000, 50_000),
        files=True,
        member="IMAGENET",
    ),
    "digits-dvs": Source(
        "digits_dvs",
        "the digits as simulated events of three saccades",
        Size((2, 34, 34), 10, 1_167, 180, 450),
        events=True,
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


def _own(name: str, root: Path) -> tuple[OwnLoader, Path] | None:
    """Return the loader of an own data set and its folder; None for any other data set."""
    own = own_data(name)
    if own is None:
        return None
    module = importlib.import_module("pipelines.data.own")
    return cast(OwnLoader, module.own_set(own)), root / module.folder_name(name)


def size_of(name: str, root: Path) -> Size:
    """Return the size of a data set; an own one is fetched and read.

    Parameters
    ----------
    name
        Name of the data set.
    root
        Folder of fetched data sets.

    Raises
    ------
    InputError
        If there is no such data set.
    BenchError
        If the files of an own data set are missing or not what they must be.
    """
    own = _own(name, root)
    if own is None:
        return _source(name).size
    loader, folder = own
    loader.fetch(folder)
    return loader.size(folder)


def fetch(name: str, root: Path) -> Path:
    """Put the data set `name` under `root` and return its folder.

    Raises
    ------
    InputError
        If there is no such data set.
    BenchError
        If its files cannot be downloaded or written.
    """
    if own := _own(name, root):
        own[0].fetch(own[1])
        return own[1]
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
    """Load train and validation split of a fetched data set; recordings become frames.

    Images in memory are normalised here, unless they are augmented batch by batch first.

    Raises
    ------
    InputError
        If this augmentation does not apply to these images.
    """
    if own := _own(name, root):
        data, files = own[0].load_training(own[1], normalization, binning), False
    else:
        source, folder = _source(name), root / name
        if source.events:
            return source.event_loader.load_training(folder, _needed(name, binning))
        data, files = source.loader.load_training(folder, normalization), source.files
    if augmentation.colours and data.input_shape[0] != 3:
        raise InputError(f"{name} is grey; policy and colour_jitter need colour images.")
    if augmentation.resized_crop and not files:
        raise InputError(f"images of {name} have one size; ask for 'crop', not 'resized_crop'.")
    return data if augmentation != Augmentation() else data.normalized()


def load_test(
    name: str,
    root: Path,
    binning: Binning | None = None,
    normalization: Normalization = "data",
) -> Samples:
    """Load the test split of a fetched data set; called only by `pipelines.training.evaluation`.

    Raises
    ------
    BenchError
        If a run is still training, see `without_test_split`.
    """
    if _test_is_closed:
        raise BenchError("a method must not see the test split; the run opens it after training.")
    if own := _own(name, root):
        return own[0].load_test(own[1], normalization, binning).normalized()
    source, folder = _source(name), root / name
    if source.events:
        return source.event_loader.load_test(folder, _needed(name, binning))
    return source.loader.load_test(folder, normalization).normalized()


@contextmanager
def without_test_split() -> Iterator[None]:
    """Refuse to load a test split, in this thread and all others, until the block ends."""
    global _test_is_closed  # noqa: PLW0603 -- one per process, because methods are code in it
    before, _test_is_closed = _test_is_closed, True
    try:
        yield
    finally:
        _test_is_closed = before


def _needed(name: str, binning: Binning | None) -> Binning:
    if binning is None:
        raise InputError(
            f"'{name}' holds recordings; add to the workload how they become frames, such as "
            "'frames: {by: time}'."
        )
    return binning
