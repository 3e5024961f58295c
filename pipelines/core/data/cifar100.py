"""CIFAR-100 (Krizhevsky 2009, "Learning multiple layers of features from tiny images").

60,000 colour images of 32 x 32 pixels in 100 classes, the fine labels. The split is fixed
by the order of the hashes of the numbers (`pipelines.core.data.splits`).
"""

from __future__ import annotations

from pathlib import Path

from pipelines.core.data.cifar import MIRRORS, CifarArchive
from pipelines.core.data.images import Part
from pipelines.core.data.splits import Split, TrainingData

NAME = "cifar-100"
CLASSES = 100
VALIDATION = 5000
FILE = "cifar-100-binary.tar.gz"
#: SHA-256 of the archive; its MD5 on its page is 03b5dce01913d631647c71ecec9e9cb8.
CONTENT = "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec"
MEMBERS: dict[Part, tuple[str, ...]] = {
    "training": ("cifar-100-binary/train.bin",),
    "test": ("cifar-100-binary/test.bin",),
}
#: A record is one of 20 superclasses, which is not used, the class, and 3 x 1024 pixels.
LABEL_BYTES = 2


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
