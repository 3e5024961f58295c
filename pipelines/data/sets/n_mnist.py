"""N-MNIST (Orchard et al. 2015, 10.3389/fnins.2015.00437): MNIST's digits before an ATIS sensor.

Recordings of 34 x 34 pixels and three saccades of about 100 ms, read in place from the two ZIP
archives, whose files ``Train/LABEL/NUMBER.bin`` are counted from 1. Addresses and checksums are
those of tonic's `NMNIST`.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from pipelines.common.errors import BenchError
from pipelines.common.files import atomic_file
from pipelines.data.download import Archive, obtain_archive
from pipelines.data.events import Binning, Events
from pipelines.data.sets import recordings
from pipelines.data.splits import Split, TrainingData, stratified

NAME = "n-mnist"
SENSOR = (34, 34)
CLASSES = 10
VALIDATION = 5000
_FILES = "https://data.mendeley.com/public-files/datasets/468j46mzdv/files/"
TRAIN = Archive(
    "Train.zip",
    f"{_FILES}39c25547-014b-4137-a934-9d29fa53c7a0/file_downloaded",
    "20959b8e626244a1b502305a9e6e2031",
)
TEST = Archive(
    "Test.zip",
    f"{_FILES}05a4d654-7e03-4c15-bdfa-9bb2bcbea494/file_downloaded",
    "69ca8762b2fe404d9b9bad1103e97832",
)
#: Recordings of each archive.
COUNTS = {TRAIN: 60_000, TEST: 10_000}


def fetch(folder: Path) -> None:
    """Put the two archives into `folder`, verified."""
    for archive in (TRAIN, TEST):
        found = obtain_archive(archive, folder)
        if found.parent != folder:
            with atomic_file(folder / archive.name) as file, found.open("rb") as source:
                shutil.copyfileobj(source, file)


def _frames(folder: Path, archive: Archive, binning: Binning) -> Split:
    path = folder / archive.name
    if not path.is_file():
        raise BenchError(f"{path} is missing; run: dpap-bench fetch {NAME}")
    frames, labels = recordings.read_frames(path, binning, *SENSOR, sensor=True)
    if len(labels) != COUNTS[archive]:
        raise BenchError(
            f"{path} has {len(labels)} recordings instead of {COUNTS[archive]}; delete it, then "
            f"run: dpap-bench fetch {NAME}"
        )
    return Split(torch.from_numpy(frames), torch.from_numpy(labels))


def load_training(folder: Path, binning: Binning) -> TrainingData:
    """Train and validation split, both from the official training archive."""
    whole = _frames(folder, TRAIN, binning)
    validation, train = stratified(NAME, whole.labels.numpy(), (VALIDATION,))
    return TrainingData(whole.part(train), whole.part(validation), CLASSES)


def load_test(folder: Path, binning: Binning) -> Split:
    """The official test archive; for `pipelines.training.evaluation` alone."""
    return _frames(folder, TEST, binning)


def recording(folder: Path, number: int) -> tuple[int, Events]:
    """Label and events of one training recording, counted from 0 as MNIST's images are."""
    return recordings.read(folder / TRAIN.name, number + 1, sensor=True)
