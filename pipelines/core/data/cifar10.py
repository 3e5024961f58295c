"""CIFAR-10 (Krizhevsky 2009, "Learning multiple layers of features from tiny images").

60,000 colour images of 32 x 32 pixels in 10 classes. The split is fixed
by the order of the hashes of the numbers (`pipelines.core.data.splits`).
"""

from __future__ import annotations

from pathlib import Path

from pipelines.core.data.cifar import MIRRORS, CifarArchive
from pipelines.core.data.images import Part
from pipelines.core.data.splits import Split, TrainingData

NAME = "cifar-10"
CLASSES = 10
VALIDATION = 5000
FILE = "cifar-10-binary.tar.gz"
#: SHA-256 of the archive; its MD5 on its page is c32a1d4ab5d03f1284b67883e8d87530.
CONTENT = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
MEMBERS: dict[Part, tuple[str, ...]] = {
    "training": tuple(f"cifar-10-batches-bin/data_batch_{i}.bin" for i in range(1, 6)),
    "test": ("cifar-10-batches-bin/test_batch.bin",),
}
#: A record is the class and 3 x 1024 pixels.
LABEL_BYTES = 1


def _archive() -> CifarArchive:
    return CifarArchive(
        NAME, CLASSES, VALIDATION, None, FILE, CONTENT, MIRRORS, MEMBERS, LABEL_BYTES
    )


def fetch(folder: Path) -> None:
    """Get the archive, verified."""
    _archive().fetch(folder)


def load_training(folder: Path) -> TrainingData:
    """Train and validation split, both from the official training records."""
    return _archive().training(folder)


def load_test(folder: Path) -> Split:
    """The official test records; for `pipelines.core.evaluate` alone."""
    return _archive().test(folder)
