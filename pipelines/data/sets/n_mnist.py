"""N-MNIST (Orchard et al. 2015, 10.3389/fnins.2015.00437): MNIST's digits seen by an ATIS sensor.

Recordings have 34 x 34 pixels and three saccades of about 100 ms. They are read from the two ZIP
archives without unpacking them; files ``Train/LABEL/NUMBER.bin`` are counted from 1. Addresses and
checksums are those of tonic's `NMNIST`.
"""

from __future__ import annotations

from pathlib import Path

import torch

from pipelines.common.errors import BenchError
from pipelines.data.download import RemoteFile
from pipelines.data.events import Binning, Events
from pipelines.data.sets import atis
from pipelines.data.splits import Split, TrainingData, stratified

NAME = "n-mnist"
SENSOR = (34, 34)
CLASSES = 10
VALIDATION = 5000
_FILES = "https://data.mendeley.com/public-files/datasets/468j46mzdv/files/"
TRAIN = RemoteFile(
    "Train.zip",
    "md5:20959b8e626244a1b502305a9e6e2031",
    (f"{_FILES}39c25547-014b-4137-a934-9d29fa53c7a0/file_downloaded",),
)
TEST = RemoteFile(
    "Test.zip",
    "md5:69ca8762b2fe404d9b9bad1103e97832",
    (f"{_FILES}05a4d654-7e03-4c15-bdfa-9bb2bcbea494/file_downloaded",),
)
#: Recordings in each archive.
COUNTS = {"Train.zip": 60_000, "Test.zip": 10_000}


def fetch(folder: Path) -> None:
    """Put the two verified archives into `folder`.

    Raises
    ------
    BenchError
        If one cannot be had.
    """
    for archive in (TRAIN, TEST):
        archive.fetch(folder)


def _frames(folder: Path, name: str, binning: Binning) -> Split:
    path = folder / name
    if not path.is_file():
        raise BenchError(f"{path} is missing; run: dpap-bench fetch {NAME}")
    frames, labels = atis.read_frames(path, binning, *SENSOR, sensor=True)
    if len(labels) != COUNTS[name]:
        raise BenchError(
            f"{path} has {len(labels)} recordings instead of {COUNTS[name]}; delete it, then "
            f"run: dpap-bench fetch {NAME}"
        )
    return Split(torch.from_numpy(frames), torch.from_numpy(labels))


def load_training(folder: Path, binning: Binning) -> TrainingData:
    """Read train and validation split, both from the official training archive."""
    whole = _frames(folder, TRAIN.name, binning)
    validation, train = stratified(NAME, whole.labels.numpy(), (VALIDATION,))
    return TrainingData(whole.part(train), whole.part(validation), CLASSES)


def load_test(folder: Path, binning: Binning) -> Split:
    """Read the official test archive; called only by `pipelines.training.evaluation`."""
    return _frames(folder, TEST.name, binning)


def recording(folder: Path, number: int) -> tuple[int, Events]:
    """Read label and events of one training recording, counted from 0 as MNIST's images are."""
    return atis.read(folder / TRAIN.name, number + 1, sensor=True)
