"""The table of data sets, and where their files lie."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from pipelines.core.errors import unknown

if TYPE_CHECKING:
    from pipelines.core.data.splits import Split, TrainingData


class Loader(Protocol):
    """What a data module offers."""

    def fetch(self, folder: Path) -> None:
        """Put verified files into `folder`; do nothing where they are."""

    def load_training(self, folder: Path) -> TrainingData:
        """Read the train and validation split."""

    def load_test(self, folder: Path) -> Split:
        """Read the test split."""


@dataclass(frozen=True)
class Source:
    """A data set: its module in this package, and one line about it."""

    module: str
    summary: str

    @property
    def loader(self) -> Loader:
        """The module, imported when it is needed."""
        return cast(Loader, importlib.import_module(f"pipelines.core.data.{self.module}"))


SOURCES = {
    "digits": Source(
        "digits",
        "scikit-learn's digits, 8 x 8 grey, 10 classes; 1,167 train / 180 validation / 450 test",
    ),
    "fashion-mnist": Source(
        "fashion_mnist",
        "Fashion-MNIST, 28 x 28 grey, 10 classes; 55,000 train / 5,000 validation / 10,000 test",
    ),
    "mnist": Source(
        "mnist",
        "MNIST digits, 28 x 28 grey, 10 classes; 55,000 train / 5,000 validation / 10,000 test",
    ),
    "cifar-10": Source(
        "cifar10",
        "CIFAR-10, 32 x 32 colour, 10 classes; 45,000 train / 5,000 validation / 10,000 test",
    ),
    "cifar-100": Source(
        "cifar100",
        "CIFAR-100, 32 x 32 colour, 100 classes; 45,000 train / 5,000 validation / 10,000 test",
    ),
}


def fetch(name: str, root: Path) -> Path:
    """Put the data set `name` under `root` and return its folder.

    Raises
    ------
    InputError
        If there is no such data set.
    BenchError
        If its files cannot be had.
    """
    if name not in SOURCES:
        raise unknown("data set", name, SOURCES)
    folder = root / name
    SOURCES[name].loader.fetch(folder)
    return folder


def load_training(name: str, root: Path) -> TrainingData:
    """Train and validation split of a fetched data set."""
    return SOURCES[name].loader.load_training(root / name)


def load_test(name: str, root: Path) -> Split:
    """Test split of a fetched data set; for `pipelines.core.evaluate` alone."""
    return SOURCES[name].loader.load_test(root / name)
