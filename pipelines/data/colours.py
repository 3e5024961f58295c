"""RandAugment (Cubuk et al. 2020, arXiv 1909.13719) and colour jitter of one image.

Operations, strengths and probabilities are those of timm's `rand_augment_transform` with
increasing strength. timm itself draws from the global generators of Python and NumPy, needs
torchvision of the same build as torch, and fails if posterising leaves no bit, which newer versions
of Pillow refuse. `tests/pipelines/data/test_colours.py` compares both if timm is installed.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps

from pipelines.settings.augmentation import Augmentation

Picture = Image.Image
#: Empty pixels are filled with ImageNet's mean, as in timm.
_FILL = (124, 116, 104)
_CHANCE = 0.5
_STRONGEST = 10.0
_MOVED = 0.45
_ENHANCERS = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)


def _warp(image: Picture, matrix: tuple[float, ...]) -> Picture:
    return image.transform(
        image.size,
        Image.Transform.AFFINE,
        matrix,
        resample=Image.Resampling.BICUBIC,
        fillcolor=_FILL,
    )


def _posterize(image: Picture, strength: float, _: int) -> Picture:
    bits = 4 - int(strength * 4)
    return ImageOps.posterize(image, bits) if bits else image.point([0] * 256 * 3)


def _solarize_add(image: Picture, strength: float, _: int) -> Picture:
    added = min(128, int(strength * 110))
    return image.point([min(255, i + added) if i < 128 else i for i in range(256)] * 3)


def _rotate(image: Picture, strength: float, sign: int) -> Picture:
    return image.rotate(sign * strength * 30, resample=Image.Resampling.BICUBIC, fillcolor=_FILL)


Operation = Callable[[Picture, float, int], Picture]


def _enhanced(kind: Callable[[Picture], ImageEnhance._Enhance]) -> Operation:
    return lambda image, strength, sign: kind(image).enhance(max(0.1, 1 + sign * strength * 0.9))


#: Name in timm -> operation on an image, with strength in [0, 1] and sign.
OPERATIONS: dict[str, Operation] = {
    "AutoContrast": lambda image, *_: ImageOps.autocontrast(image),
    "Equalize": lambda image, *_: ImageOps.equalize(image),
    "Invert": lambda image, *_: ImageOps.invert(image),
    "Rotate": _rotate,
    "PosterizeIncreasing": _posterize,
    "SolarizeIncreasing": lambda image, strength, _: ImageOps.solarize(
        image, 256 - min(256, int(strength * 256))
    ),
    "SolarizeAdd": _solarize_add,
    "ColorIncreasing": _enhanced(ImageEnhance.Color),
    "ContrastIncreasing": _enhanced(ImageEnhance.Contrast),
    "BrightnessIncreasing": _enhanced(ImageEnhance.Brightness),
    "SharpnessIncreasing": _enhanced(ImageEnhance.Sharpness),
    "ShearX": lambda image, strength, sign: _warp(image, (1, sign * strength * 0.3, 0, 0, 1, 0)),
    "ShearY": lambda image, strength, sign: _warp(image, (1, 0, 0, sign * strength * 0.3, 1, 0)),
    "TranslateXRel": lambda image, strength, sign: _warp(
        image, (1, 0, sign * strength * _MOVED * image.width, 0, 1, 0)
    ),
    "TranslateYRel": lambda image, strength, sign: _warp(
        image, (1, 0, 0, 0, 1, sign * strength * _MOVED * image.height)
    ),
}


def change_colours(
    pixels: NDArray[np.uint8], asked: Augmentation, chance: random.Random
) -> NDArray[np.uint8]:
    """Apply the RandAugment and colour jitter of an augmentation.

    Parameters
    ----------
    pixels
        [3, H, W].
    asked
        Augmentation of the recipe.
    chance
        Random number generator of this image.
    """
    image = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    if asked.policy:
        image = _rand_augment(image, asked.policy, chance)
    if asked.colour_jitter:
        image = _jitter(image, asked.colour_jitter, chance)
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


def _rand_augment(image: Picture, policy: str, chance: random.Random) -> Picture:
    numbers = {key: float(value) for key, value in re.findall(r"-(mstd|m|n)([\d.]+)", policy)}
    for name in chance.choices(list(OPERATIONS), k=int(numbers.get("n", 2))):
        if chance.random() > _CHANCE:
            continue
        magnitude = chance.gauss(numbers["m"], numbers.get("mstd", 0.0))
        strength = max(0.0, min(magnitude, _STRONGEST)) / _STRONGEST
        image = OPERATIONS[name](image, strength, chance.choice((1, -1)))
    return image


def _jitter(image: Picture, width: float, chance: random.Random) -> Picture:
    for kind in chance.sample(_ENHANCERS, k=len(_ENHANCERS)):
        image = kind(image).enhance(chance.uniform(1 - width, 1 + width))
    return image
