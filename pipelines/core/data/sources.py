"""The table of data sets, and where their files lie."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from pipelines.core.data import digits, fashion_mnist
from pipelines.core.data.splits import Split, TrainingData
from pipelines.core.errors import unknown


class Source(Protocol):
    """What a data module offers."""

    NAME: str
    SUMMARY: str
    CLASSES: int

    def fetch(self, folder: Path) -> None:
        """Put verified files into `folder`; do nothing where they are."""

    def load_training(self, folder: Path) -> TrainingData:
        """Read the train and validation split."""

    def load_test(self, folder: Path) -> Split:
        """Read the test split."""


SOURCES: dict[str, Source] = {module.NAME: module for module in (digits, fashion_mnist)}


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
    SOURCES[name].fetch(folder)
    return folder


def load_training(name: str, root: Path) -> TrainingData:
    """Train and validation split of a fetched data set."""
    return SOURCES[name].load_training(root / name)


def load_test(name: str, root: Path) -> Split:
    """Test split of a fetched data set; for `pipelines.core.evaluate` alone."""
    return SOURCES[name].load_test(root / name)
