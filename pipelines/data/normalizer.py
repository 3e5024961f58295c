"""From pixels to what a network takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipelines.settings.workload import Normalization

#: Mean and standard deviation of each channel, as torchvision and timm have them for ImageNet.
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
#: What DPAP's released code (BrainCog, `braincog/datasets/datasets.py`) has for CIFAR-10's test.
RELEASED_TEST = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))


@dataclass(frozen=True)
class Normalizer:
    """(pixel / peak - mean) / deviation, channel by channel.

    Parameters
    ----------
    peak
        The brightest pixel.
    means, deviations
        Of each channel, once `peak` is 1.
    """

    peak: int
    means: Sequence[float]
    deviations: Sequence[float]

    def __call__(self, pixels: Tensor) -> Tensor:
        """Normalise pixels [B, C, H, W] uint8 into float32."""
        inputs = pixels.to(torch.float32).div_(self.peak)
        for channel, mean, deviation in zip(
            inputs.unbind(1), self.means, self.deviations, strict=True
        ):
            channel.sub_(mean).div_(deviation)
        return inputs


def normalizers(
    kind: Normalization, peak: int, means: Sequence[float], deviations: Sequence[float]
) -> tuple[Normalizer, Normalizer]:
    """How training images are normalised, and how validation and test images are.

    Parameters
    ----------
    kind
        Of `Workload`. With ``released`` the two differ, as they do in that code; validation images
        go with the test images that they stand for. Otherwise they are equal.
    peak, means, deviations
        Of the training split; see `Normalizer`.
    """
    if kind == "released":
        return Normalizer(peak, *IMAGENET), Normalizer(peak, *RELEASED_TEST)
    if kind == "none":
        means, deviations = [0.0] * len(means), [1.0] * len(means)
    same = Normalizer(peak, means, deviations)
    return same, same
