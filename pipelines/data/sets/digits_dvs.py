"""scikit-learn's digits as an event camera would see them, simulated by `saccades`; no download.

Each of the 8 x 8 pixels of an image becomes a square of `ENLARGED` x `ENLARGED` pixels. The splits
hold the same samples as those of ``digits``. The data set is small: it is for tests and canaries.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.common.errors import BenchError
from pipelines.data.events import Binning, Events
from pipelines.data.sets import atis, digits
from pipelines.data.sets.saccades import SIDE, simulate
from pipelines.data.splits import Split, TrainingData, stratified

NAME = "digits-dvs"
SENSOR = (SIDE, SIDE)
FILE = "Recordings.zip"
ENLARGED = 3
#: Grey value of one step of the 16 steps of ``digits``.
GREY = 15
#: `atis.digest` of the archive.
CONTENT = "a26746a64419d1aaac553d8a9bbef66b665aaf8f9f36cb31fa7e4971b04d033f"


def fetch(folder: Path) -> None:
    """Simulate the recordings and write the archive, which takes a few seconds.

    The images are read from the folder of ``digits`` beside this one, or from scikit-learn.

    Raises
    ------
    BenchError
        If the recordings are not the published ones.
    """
    if atis.digest(folder / FILE) == CONTENT:
        return
    with tempfile.TemporaryDirectory() as name:
        images = folder.parent / digits.NAME
        if not images.is_dir():
            images = Path(name)
        digits.fetch(images)
        table: NDArray[np.uint8] = np.load(images / digits.FILE, allow_pickle=False)
    atis.write(folder / FILE, _record(table))
    if atis.digest(folder / FILE) != CONTENT:
        raise BenchError(
            f"{folder / FILE} differs from the published recordings; the simulation uses only "
            "integers, so this is a bug: please report it"
        )


def _record(table: NDArray[np.uint8]) -> Iterator[tuple[int, int, Events]]:
    """Yield label, number and events of each row of the table [N, 65] of ``digits``."""
    pixels = (table[:, :64] * np.uint8(GREY)).reshape(-1, 8, 8)
    large = pixels.repeat(ENLARGED, axis=1).repeat(ENLARGED, axis=2)
    for number, events in enumerate(simulate(large)):
        yield int(table[number, 64]), number, events


def _parts(folder: Path, binning: Binning) -> tuple[Split, ...]:
    """Read test, validation and train split."""
    if atis.digest(folder / FILE) != CONTENT:
        raise BenchError(f"{folder / FILE} is damaged; run: dpap-bench fetch {NAME}")
    frames, labels = atis.read_frames(folder / FILE, binning, *SENSOR)
    whole = Split(torch.from_numpy(frames), torch.from_numpy(labels))
    cut = stratified(digits.NAME, labels, (digits.TEST, digits.VALIDATION))
    return tuple(whole.part(indices) for indices in cut)


def load_training(folder: Path, binning: Binning) -> TrainingData:
    """Read train and validation split."""
    _, validation, train = _parts(folder, binning)
    return TrainingData(train, validation, digits.CLASSES)


def load_test(folder: Path, binning: Binning) -> Split:
    """Read the test split; called only by `pipelines.training.evaluation`."""
    return _parts(folder, binning)[0]


def recording(folder: Path, number: int) -> tuple[int, Events]:
    """Read label and events of one recording; its number is that of the image in ``digits``."""
    return atis.read(folder / FILE, number)
