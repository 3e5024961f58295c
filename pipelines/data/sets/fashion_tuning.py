"""The first of Fashion-MNIST's training images, made smaller: what hyper-parameters are tuned on.

There are a train and a validation split, and no test split. So tuning cannot open one; the test
images of Fashion-MNIST are not even fetched.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.common.errors import BenchError
from pipelines.data.images import ImageDataset, Images, Part
from pipelines.data.sets import fashion_mnist


@dataclass(frozen=True)
class TuningImages(ImageDataset):
    """Images for tuning, 14 x 14 pixels: each is the mean of 2 x 2 pixels of Fashion-MNIST.

    Parameters
    ----------
    train
        Number of train images.
    """

    train: int

    def fetch(self, folder: Path) -> None:
        """Put the two files of Fashion-MNIST's training images into `folder`.

        Raises
        ------
        BenchError
            If a file cannot be had.
        """
        whole = fashion_mnist.FASHION_MNIST
        training = {name: file for name, file in whole.files.items() if name.startswith("train")}
        replace(whole, files=training).fetch(folder)

    def read(self, folder: Path, part: Part) -> Images:
        """Read the images of both splits.

        Raises
        ------
        BenchError
            If a file is missing or damaged, or the test split is asked for.
        """
        if part == "test":
            raise BenchError(
                f"{self.name} has no test split, it is for dpap-bench tune alone: use another "
                "workload"
            )
        images = fashion_mnist.FASHION_MNIST.read(folder, part)
        first = np.arange(self.train + self.validation)
        return Images(halved(images.pixels[first]), images.labels[first])


def halved(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Average 2 x 2 pixels, rounded half up: [N, C, 2 H, 2 W] to [N, C, H, W]."""
    count, channels, height, width = pixels.shape
    blocks = pixels.reshape(count, channels, height // 2, 2, width // 2, 2)
    halves: NDArray[np.uint8] = ((blocks.sum((3, 5), np.uint16) + 2) // 4).astype(np.uint8)
    return halves


FASHION_TUNING = TuningImages(
    "fashion-tuning",
    classes=10,
    validation=2000,
    splits="6b0e56f8b4f0eed3b426d50da508ae4a3310de122b8d305fbfe736797e829e7e",
    train=3000,
)
