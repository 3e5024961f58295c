"""Normalisation of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipelines.settings.workload import Normalization

#: Mean and standard deviation of each channel of ImageNet, as in torchvision and timm.
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
#: Constants of DPAP's released code (BrainCog, `braincog/datasets/datasets.py`) for CIFAR-10's
#: test images.
RELEASED_TEST = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))


@dataclass(frozen=True)
class Normalizer:
    """Maps pixels to (pixel / peak - mean) / deviation, channel by channel.

    Parameters
    ----------
    peak
        Largest possible pixel value.
    means, deviations
        Mean and standard deviation of each channel, of pixels divided by `peak`.
    """

    peak: int
    means: Sequence[float]
    deviations: Sequence[float]

    def __call__(self, pixels: Tensor) -> Tensor:
        """Normalise pixels [B, C, H, W] uint8 to float32."""
        inputs = pixels.to(torch.float32).div_(self.peak)
        for channel, mean, deviation in zip(
            inputs.unbind(1), self.means, self.deviations, strict=True
        ):
            channel.sub_(mean).div_(deviation)
        return inputs


def normalizers(
    kind: Normalization, peak: int, means: Sequence[float], deviations: Sequence[float]
) -> tuple[Normalizer, Normalizer]:
    """Return the normalizer of training images, and that of validation and test images.

    Parameters
    ----------
    kind
        Normalization of the `Workload`. With ``released`` the two differ, as in DPAP's released
        code; validation images are treated as test images. Otherwise they are equal.
    peak, means, deviations
        Statistics of the training split; see `Normalizer`.
    """
    if kind == "released":
        return Normalizer(peak, *IMAGENET), Normalizer(peak, *RELEASED_TEST)
    if kind == "none":
        means, deviations = [0.0] * len(means), [1.0] * len(means)
    same = Normalizer(peak, means, deviations)
    return same, same
