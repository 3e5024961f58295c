"""Normalization of images: by their own channels, not at all, or by released constants."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from pipelines.data import load_test, load_training
from pipelines.data.splits import Split
from pipelines.settings.augmentation import Augmentation

#: Mean and standard deviation of the channels: those of ImageNet, and those of CIFAR-10.
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CIFAR = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


def pixels(split: Split, mean: tuple[float, ...], deviation: tuple[float, ...]) -> torch.Tensor:
    """The pixels in [0, 1] that were normalised to the inputs of a split."""
    shape = (1, 3, 1, 1)
    return split.inputs * torch.tensor(deviation).view(shape) + torch.tensor(mean).view(shape)


def test_only_released_normalizes_training_and_test_differently(small_cifar: Path) -> None:
    raw = load_training("cifar-10", small_cifar, normalization="none")
    assert 0 <= raw.train.inputs.min() < 0.01
    assert 0.99 < raw.train.inputs.max() <= 1
    raw_test = load_test("cifar-10", small_cifar, normalization="none")
    found = load_training("cifar-10", small_cifar, normalization="released")
    test = load_test("cifar-10", small_cifar, normalization="released")
    for split, constants, expected in (
        (found.train, IMAGENET, raw.train),
        (found.validation, CIFAR, raw.validation),  # normalised as test images
        (test, CIFAR, raw_test),
    ):
        torch.testing.assert_close(pixels(split, *constants), expected.inputs, rtol=0, atol=1e-6)
    data = load_training("cifar-10", small_cifar)
    means = tuple(raw.train.inputs.double().mean((0, 2, 3)).tolist())
    deviations = tuple(raw.train.inputs.double().std((0, 2, 3), correction=0).tolist())
    for split, expected in ((data.train, raw.train), (data.validation, raw.validation)):
        found_pixels = pixels(split, means, deviations)
        torch.testing.assert_close(found_pixels, expected.inputs, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", ["data", "none", "released"])
def test_normalization_by_batch_equals_normalization_at_once(small_cifar: Path, kind: Any) -> None:
    at_once = load_training("cifar-10", small_cifar, normalization=kind)
    by_batch = load_training("cifar-10", small_cifar, None, kind, Augmentation(flip=True))
    for one, other in (
        (at_once.train, by_batch.train),
        (at_once.validation, by_batch.validation),
    ):
        assert other.inputs.dtype == torch.uint8
        assert torch.equal(one.batch(slice(None))[0], other.batch(slice(None))[0])
