"""Images streamed from files: decoded ahead in threads, never all in memory.

Crops are the usual ones for ImageNet. For evaluation the shorter side is resized to 256 pixels and
the centre of 224 x 224 is cut out. With `Augmentation.resized_crop` a random part is resized to
224 x 224 (Szegedy et al. 2015, arXiv 1409.4842). Both follow torchvision, with Pillow's bilinear
filter.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from pipelines.common.errors import BenchError
from pipelines.data.augment import Augmenter, numbers
from pipelines.data.normalizer import Normalizer
from pipelines.data.prefetch import ahead
from pipelines.data.splits import Batch, finished

SIDE, RESIZED = 224, 256
_AREA, _SHAPE = (0.08, 1.0), (3 / 4, 4 / 3)
_TRIES = 10
_BATCHES_AHEAD = 3


@dataclass(frozen=True)
class ImageFiles:
    """Samples of one split in files; implements `pipelines.data.splits.Samples`.

    Parameters
    ----------
    paths
        N image files of any size and mode.
    labels
        [N] int64.
    normalizer
        Normalizer of their pixels.
    """

    paths: Sequence[Path]
    labels: Tensor
    normalizer: Normalizer

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one sample, [C, H, W]."""
        return 3, SIDE, SIDE

    @property
    def device(self) -> torch.device:
        """Device of the batches."""
        return self.labels.device

    def batch(self, at: Tensor | slice, augmenter: Augmenter | None = None) -> Batch:
        """See `Samples`."""
        return next(self.batches([at], augmenter))

    def batches(
        self, cuts: Sequence[Tensor | slice], augmenter: Augmenter | None = None
    ) -> Iterator[Batch]:
        """See `Samples`; files are decoded in threads, some batches ahead.

        Raises
        ------
        BenchError
            If a file is damaged; the message names it.
        """
        parts = [numbers(at, len(self)) for at in cuts]
        depth = _BATCHES_AHEAD * max(map(len, parts), default=0)
        every = (number for part in parts for number in part)
        images = ahead(lambda number: self._decode(number, augmenter), every, depth)
        for at, part in zip(cuts, parts, strict=True):
            pixels = np.stack([next(images) for _ in part])
            inputs = torch.from_numpy(pixels).to(self.device)
            yield finished(inputs, at, self.normalizer, augmenter), self.labels[at]

    def to(self, device: torch.device) -> ImageFiles:
        """Return the split with batches on a device."""
        return replace(self, labels=self.labels.to(device))

    def normalized(self) -> ImageFiles:
        """Return the split unchanged: it is not in memory."""
        return self

    def _decode(self, number: int, augmenter: Augmenter | None) -> NDArray[np.uint8]:
        """Pixels [3, 224, 224] of one image."""
        path = self.paths[number]
        try:
            with Image.open(path) as file:
                image = file.convert("RGB")  # some images are grey or CMYK
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise BenchError(
                f"{path} is damaged ({error}); replace it with a complete copy"
            ) from error
        if augmenter is not None and augmenter.asked.resized_crop:
            image = random_part(image, augmenter.chance(number, "crop"))
        else:
            image = centre(image)
        return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


def centre(image: Image.Image) -> Image.Image:
    """Resize the shorter side to 256 pixels and cut out the centre."""
    width, height = image.size
    short = min(width, height)
    size = (width * RESIZED // short, height * RESIZED // short)
    image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = (round((side - SIDE) / 2) for side in size)
    return image.crop((left, top, left + SIDE, top + SIDE))


def random_part(image: Image.Image, chance: random.Random) -> Image.Image:
    """Cut out a random part, or the centre after ten tries that do not fit, and resize it."""
    width, height = image.size
    for _ in range(_TRIES):
        area = chance.uniform(*_AREA) * width * height
        shape = math.exp(chance.uniform(*map(math.log, _SHAPE)))
        columns, rows = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
        if 0 < columns <= width and 0 < rows <= height:
            left, top = chance.randint(0, width - columns), chance.randint(0, height - rows)
            break
    else:
        columns = min(width, round(height * _SHAPE[1]))
        rows = min(height, round(width / _SHAPE[0]))
        left, top = (width - columns) // 2, (height - rows) // 2
    part = image.crop((left, top, left + columns, top + rows))
    return part.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
