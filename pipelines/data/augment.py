"""Augmentation of batches by random numbers that belong to the samples.

The numbers of all samples are drawn before the epoch begins. So the augmentation of a sample does
not depend on its batch, on the method, or on the order in which files are read.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from pipelines.data.colours import change_colours
from pipelines.settings.augmentation import Augmentation

_ROW, _COLUMN, _FLIP, _ANGLE = range(4)
#: Area of an erased rectangle relative to the image, and logarithm of its aspect ratio, as in timm.
_ERASED_AREA, _ERASED_SHAPE = (0.02, 1 / 3), math.log(0.3)
_TRIES = 10


@dataclass(frozen=True)
class Augmenter:
    """Augmentation of all samples in one epoch.

    Parameters
    ----------
    asked
        The recipe's augmentation.
    draws
        [N, 4] float64 in [0, 1): row and column of the crop, flip, and angle of each sample; on
        the device of the batches.
    seeds
        [N] int64 on the CPU: seed of all other changes of each sample.
    """

    asked: Augmentation
    draws: Tensor
    seeds: Tensor

    @classmethod
    def of_epoch(
        cls, asked: Augmentation, samples: int, generator: torch.Generator, device: torch.device
    ) -> Augmenter:
        """Draw the random numbers of an epoch."""
        draws = torch.rand(samples, 4, generator=generator, dtype=torch.float64)
        seeds = torch.randint(2**62, (samples,), generator=generator)
        return cls(asked, draws.to(device), seeds)

    def chance(self, number: int, purpose: str) -> random.Random:
        """Random number generator of one sample and one purpose."""
        return random.Random(f"{purpose}:{int(self.seeds[number])}")  # noqa: S311

    def pixels(self, pixels: Tensor, at: Tensor | slice) -> Tensor:
        """Augment a batch of pixels or frames before they are normalised.

        Parameters
        ----------
        pixels
            [B, C, H, W], or [B, T, C, H, W], whose T frames are all changed in the same way.
        at
            Indices of the samples.
        """
        shape, asked = pixels.shape, self.asked
        pixels = pixels.flatten(1, -3)  # [B, T * C, H, W]
        draws = self.draws[at]
        if asked.crop or asked.flip:
            pixels = self._window(pixels, draws)
        if asked.rotation:
            pixels = self._rotate(pixels, draws)
        if asked.colours:
            pixels = self._colours(pixels, at)
        return pixels.view(shape)

    def erase(self, inputs: Tensor, at: Tensor | slice) -> Tensor:
        """Fill a rectangle with noise in some of the inputs [B, C, H, W]."""
        if not self.asked.erasing:
            return inputs
        inputs = inputs.clone()  # they may be a view of the data
        for sample, number in zip(inputs, numbers(at, len(self.seeds)), strict=True):
            chance = self.chance(number, "erasing")
            if chance.random() < self.asked.erasing:
                _erase(sample, chance)
        return inputs

    def _window(self, pixels: Tensor, draws: Tensor) -> Tensor:
        """Crop and flip padded pixels by one index operation for the batch."""
        border, (samples, channels, height, width) = self.asked.crop, pixels.shape
        places = 2 * border + 1
        device = pixels.device
        rows = (draws[:, _ROW, None] * places).long() + torch.arange(height, device=device)
        columns = (draws[:, _COLUMN, None] * places).long() + torch.arange(width, device=device)
        if self.asked.flip:
            columns = torch.where(draws[:, _FLIP, None] < 0.5, columns.flip(1), columns)
        return functional.pad(pixels, [border] * 4)[
            torch.arange(samples, device=device).view(-1, 1, 1, 1),
            torch.arange(channels, device=device).view(1, -1, 1, 1),
            rows[:, None, :, None],
            columns[:, None, None, :],
        ]

    def _rotate(self, pixels: Tensor, draws: Tensor) -> Tensor:
        """Rotate each sample about its centre, counter-clockwise if positive, by nearest pixels."""
        height, width = pixels.shape[-2:]
        angle = (2 * draws[:, _ANGLE] - 1) * math.radians(self.asked.rotation)
        cos, sin, none = angle.cos(), angle.sin(), torch.zeros_like(angle)
        rows = (cos, -sin * height / width, none, sin * width / height, cos, none)
        turned = torch.stack(rows, 1).view(-1, 2, 3).float()
        grid = functional.affine_grid(turned, list(pixels.shape), align_corners=False)
        inputs = pixels.float()
        return functional.grid_sample(inputs, grid, mode="nearest", align_corners=False).to(
            pixels.dtype
        )

    def _colours(self, pixels: Tensor, at: Tensor | slice) -> Tensor:
        images = pixels.cpu().numpy()
        changed = [
            change_colours(image, self.asked, self.chance(number, "colours"))
            for image, number in zip(images, numbers(at, len(self.seeds)), strict=True)
        ]
        return torch.stack([torch.from_numpy(image) for image in changed]).to(pixels.device)


def numbers(at: Tensor | slice, samples: int) -> list[int]:
    """Sample indices as a list."""
    if isinstance(at, slice):
        return list(range(*at.indices(samples)))
    return [int(number) for number in at.cpu().tolist()]


def _erase(sample: Tensor, chance: random.Random) -> None:
    """Fill a rectangle of one sample [C, H, W] with standard normal noise."""
    channels, height, width = sample.shape
    for _ in range(_TRIES):
        area = chance.uniform(*_ERASED_AREA) * height * width
        shape = math.exp(chance.uniform(_ERASED_SHAPE, -_ERASED_SHAPE))
        rows, columns = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
        if rows < height and columns < width:
            top, left = chance.randint(0, height - rows), chance.randint(0, width - columns)
            noise = torch.Generator().manual_seed(chance.getrandbits(62))
            filled = torch.randn(channels, rows, columns, generator=noise).to(sample)
            sample[:, top : top + rows, left : left + columns] = filled
            return
