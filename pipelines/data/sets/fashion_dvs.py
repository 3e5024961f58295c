"""Fashion-MNIST as an event camera would see it, simulated by `pipelines.data.sets.saccades`.

Splits hold the same samples as those of ``fashion-mnist``.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from pipelines.common.errors import BenchError
from pipelines.common.files import atomic_file
from pipelines.data.events import Binning, Events
from pipelines.data.images import Part
from pipelines.data.sets import atis, fashion_mnist
from pipelines.data.sets.saccades import SIDE, simulate
from pipelines.data.splits import Split, TrainingData, stratified

NAME = "fashion-dvs"
SENSOR = (SIDE, SIDE)
TRAIN, TEST, DATASHEET = "Train.zip", "Test.zip", "datasheet.json"
#: `atis.digest` of the archives.
CONTENT = {
    TRAIN: "e35cdfa74209f06df081c0a3928ec6818ac296800196325fb5a97b8d2e039aec",
    TEST: "1310999593cc71a119acc0fb30332bda10bf6f4aa95091fce86b853d19c3df3a",
}
_PARTS: dict[str, Part] = {TRAIN: "training", TEST: "test"}
_CHUNK = 256


def fetch(folder: Path) -> None:
    """Simulate the recordings and write the archives, which takes about two minutes.

    Fashion-MNIST's files are read from the folder beside this one, or fetched for the moment.

    Raises
    ------
    BenchError
        If the recordings are not the published ones.
    """
    if all(atis.digest(folder / name) == content for name, content in CONTENT.items()):
        return
    with tempfile.TemporaryDirectory() as name:
        images = folder.parent / fashion_mnist.FASHION_MNIST.name
        if not images.is_dir():
            images = Path(name)
        fashion_mnist.FASHION_MNIST.fetch(images)
        sheet = {part: _record(folder / part, images, source) for part, source in _PARTS.items()}
    for part, content in CONTENT.items():
        if atis.digest(folder / part) != content:
            raise BenchError(
                f"{folder / part} differs from the published recordings; the simulation uses only "
                "integers, so this is a bug: please report it"
            )
    with atomic_file(folder / DATASHEET) as file:
        file.write((json.dumps(sheet, indent=1) + "\n").encode())


def _record(path: Path, folder: Path, part: Part) -> dict[str, Any]:
    """Write the recordings of one part, and return its datasheet."""
    whole = fashion_mnist.FASHION_MNIST.read(folder, part)
    images, labels = whole.pixels[:, 0], whole.labels
    counts, brighter = np.empty(len(images), np.int64), np.empty(len(images), np.int64)

    def record() -> Iterator[tuple[int, int, Events]]:
        with tqdm(total=len(images), desc=f"{NAME}: {path.name}", unit="image") as bar:
            for start in range(0, len(images), _CHUNK):
                for i, events in enumerate(simulate(images[start : start + _CHUNK]), start):
                    counts[i], brighter[i] = len(events), int(events["p"].sum())
                    yield int(labels[i]), i, events
                    bar.update()

    atis.write(path, record())
    return _datasheet(counts, brighter, labels)


def _datasheet(
    counts: NDArray[np.int64], brighter: NDArray[np.int64], labels: NDArray[np.int64]
) -> dict[str, Any]:
    quantiles = np.quantile(counts, [0, 0.05, 0.5, 0.95, 1], method="lower").tolist()
    return {
        "recordings": len(counts),
        "events_mean": round(float(counts.mean()), 1),
        "events_minimum_5_50_95_maximum": quantiles,
        "brighter_share": round(float(brighter.sum() / counts.sum()), 4),
        "events_mean_by_class": [
            round(float(counts[labels == c].mean()), 1) for c in np.unique(labels)
        ],
    }


def _frames(folder: Path, part: str, binning: Binning) -> Split:
    if atis.digest(folder / part) != CONTENT[part]:
        raise BenchError(f"{folder / part} is damaged; run: dpap-bench fetch {NAME}")
    frames, labels = atis.read_frames(folder / part, binning, *SENSOR)
    return Split(torch.from_numpy(frames), torch.from_numpy(labels))


def load_training(folder: Path, binning: Binning) -> TrainingData:
    """Read train and validation split, cut as Fashion-MNIST's."""
    whole, still = _frames(folder, TRAIN, binning), fashion_mnist.FASHION_MNIST
    validation, train = stratified(still.name, whole.labels.numpy(), (still.validation,))
    return TrainingData(whole.part(train), whole.part(validation), still.classes)


def load_test(folder: Path, binning: Binning) -> Split:
    """Read the official test part; called only by `pipelines.training.evaluation`."""
    return _frames(folder, TEST, binning)


def recording(folder: Path, number: int) -> tuple[int, Events]:
    """Read label and events of one training recording."""
    return atis.read(folder / TRAIN, number)
