"""Images that stay in their files: decoded in threads ahead of need, never all in memory.

Crops are the usual ones for ImageNet: for evaluation the shorter side becomes 256 pixels and the
centre of 224 is taken; with `Augmentation.resized_crop` a random part becomes 224 x 224 (Szegedy
et al. 2015, arXiv 1409.4842). Both as torchvision has them, by Pillow's bilinear filter.
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

SIDE, _RESIZED = 224, 256
_AREA, _SHAPE = (0.08, 1.0), (3 / 4, 4 / 3)
_TRIES = 10
_BATCHES_AHEAD = 3


@dataclass(frozen=True)
class ImageFiles:
    """Samples in files; what `pipelines.data.splits.Samples` asks for.

    Parameters
    ----------
    paths
        N images of any size and mode.
    labels
        [N] int64.
    normalizer
        Of their pixels.
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
        """Where batches come to."""
        return self.labels.device

    def batch(self, at: Tensor | slice, augmenter: Augmenter | None = None) -> Batch:
        """See `Samples`."""
        return next(self.batches([at], augmenter))

    def batches(
        self, cuts: Sequence[Tensor | slice], augmenter: Augmenter | None = None
    ) -> Iterator[Batch]:
        """See `Samples`; files are read and decoded in threads, some batches ahead.

        Raises
        ------
        BenchError
            If a file is no image; it is named.
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
        """Return the samples with batches that come to a device."""
        return replace(self, labels=self.labels.to(device))

    def normalized(self) -> ImageFiles:
        """Return the same: they are not in memory."""
        return self

    def _decode(self, number: int, augmenter: Augmenter | None) -> NDArray[np.uint8]:
        """Pixels [3, 224, 224] of one image."""
        path = self.paths[number]
        try:
            with Image.open(path) as file:
                image = file.convert("RGB")  # grey and CMYK ones are among them
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise BenchError(
                f"{path} is damaged ({error}); put a whole copy of it in its place"
            ) from error
        if augmenter is not None and augmenter.asked.resized_crop:
            image = random_part(image, augmenter.chance(number, "crop"))
        else:
            image = centre(image)
        return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


def centre(image: Image.Image) -> Image.Image:
    """Shrink the shorter side to 256 pixels, and take the centre."""
    width, height = image.size
    short = min(width, height)
    size = (width * _RESIZED // short, height * _RESIZED // short)
    image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = (round((side - SIDE) / 2) for side in size)
    return image.crop((left, top, left + SIDE, top + SIDE))


def random_part(image: Image.Image, chance: random.Random) -> Image.Image:
    """Make a random part of an image the whole one; after ten tries that do not fit, its centre."""
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
