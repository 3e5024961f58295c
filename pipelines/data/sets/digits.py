"""scikit-learn's digits: 1,797 images of 8 x 8 pixels, part of the package, no download."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.common.errors import BenchError
from pipelines.common.files import atomic_file
from pipelines.data.normalizer import Normalizer, normalizers
from pipelines.data.splits import Split, TrainingData, digest, stratified
from pipelines.settings.workload import Normalization

NAME = "digits"
CLASSES = 10
PEAK = 16
VALIDATION, TEST = 180, 450
FILE = "digits.npy"
#: SHA-256 of the table of pixels and labels, [1797, 65] uint8, and of the split indices.
CONTENT = "68aea062d35a127749050fa0e52dca09d6569ac08092c925610e0954e172dde2"
SPLITS = "aa813c415bb2d71f3b2b502d10ed29370fe21484446328dc40779b1f2d342e4f"


def fetch(folder: Path) -> None:
    """Write the images and labels of scikit-learn to ``digits.npy``.

    Raises
    ------
    BenchError
        If scikit-learn's data differ from the published ones.
    """
    path = folder / FILE
    if path.exists() and _table(path) is not None:
        return
    from sklearn.datasets import load_digits  # slow to import, needed once

    data = load_digits()
    table = np.column_stack([data.data, data.target]).astype(np.uint8)
    if _digest(table) != CONTENT:
        raise BenchError(
            "scikit-learn's digits differ from the published ones; install the pinned version: "
            "make setup"
        )
    with atomic_file(path) as file:
        np.save(file, table, allow_pickle=False)


def _digest(table: NDArray[np.uint8]) -> str:
    return hashlib.sha256(np.ascontiguousarray(table).tobytes()).hexdigest()


def _table(path: Path) -> NDArray[np.uint8] | None:
    """Read the table, or return None if the file is damaged."""
    try:
        table: NDArray[np.uint8] = np.load(path, allow_pickle=False)
        return table if _digest(table) == CONTENT else None
    except Exception:  # NumPy parses the header as Python, and raises what it happens to meet
        return None


def _load(folder: Path, kind: Normalization) -> tuple[Split, Split, Split]:
    """Read test, validation and train split as pixels."""
    table = _table(folder / FILE)
    if table is None:
        raise BenchError(f"{folder / FILE} is damaged; run: dpap-bench fetch {NAME}")
    labels = torch.from_numpy(table[:, 64].astype(np.int64))
    parts = stratified(NAME, labels.numpy(), (TEST, VALIDATION))
    if digest(parts) != SPLITS:
        raise BenchError("the splits are not the published ones; this is a bug, please report it")
    pixels = torch.from_numpy(table[:, :64]).reshape(-1, 1, 8, 8)
    seen = pixels[parts[2]].float() / PEAK
    training, held_out = normalizers(kind, PEAK, [float(seen.mean())], [float(seen.std())])

    def split(part: int, normalizer: Normalizer) -> Split:
        return Split(pixels[parts[part]], labels[parts[part]], normalizer)

    return split(0, held_out), split(1, held_out), split(2, training)


def load_training(folder: Path, normalization: Normalization = "data") -> TrainingData:
    """Read train and validation split."""
    _, validation, train = _load(folder, normalization)
    return TrainingData(train, validation, CLASSES)


def load_test(folder: Path, normalization: Normalization = "data") -> Split:
    """Read the test split; called only by `pipelines.training.evaluation`."""
    return _load(folder, normalization)[0]
