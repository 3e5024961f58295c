"""Augmentation: what happens to a sample, by hand; drawn from a stream of its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from pipelines.data.augment import Augmenter
from pipelines.data.normalizer import Normalizer
from pipelines.data.splits import Split
from pipelines.settings.augmentation import Augmentation

ALL = slice(None)


def fixed(asked: Augmentation, *rows: tuple[float, float, float, float]) -> Augmenter:
    """An epoch whose draws (row, column, flip, angle) are given."""
    return Augmenter(asked, torch.tensor(rows, dtype=torch.float64), torch.arange(len(rows)))


def drawn(asked: Augmentation, samples: int, seed: int = 0) -> Augmenter:
    generator = torch.Generator().manual_seed(seed)
    return Augmenter.of_epoch(asked, samples, generator, torch.device("cpu"))


NUMBERED = torch.arange(1, 10, dtype=torch.uint8).view(1, 1, 3, 3)


def changed(augmenter: Augmenter, pixels: Tensor = NUMBERED) -> list[list[list[int]]]:
    return augmenter.pixels(pixels, ALL)[:, 0].tolist()


def test_windows_of_a_numbered_image() -> None:
    rows = [(0.0, 0.0, 0.9, 0), (0.34, 0.34, 0.9, 0), (0.99, 0.34, 0.9, 0)]
    three = NUMBERED.expand(3, 1, 3, 3)
    assert changed(fixed(Augmentation(crop=1), *rows), three) == [
        [[0, 0, 0], [0, 1, 2], [0, 4, 5]],  # the upper left corner of the padded image
        [[1, 2, 3], [4, 5, 6], [7, 8, 9]],  # its middle
        [[4, 5, 6], [7, 8, 9], [0, 0, 0]],
    ]


def test_flips_of_a_numbered_image() -> None:
    two = NUMBERED.expand(2, 1, 3, 3)
    augmenter = fixed(Augmentation(flip=True), (0, 0, 0.49, 0), (0, 0, 0.5, 0))
    assert changed(augmenter, two) == [
        [[3, 2, 1], [6, 5, 4], [9, 8, 7]],
        [[1, 2, 3], [4, 5, 6], [7, 8, 9]],
    ]


def test_a_flip_follows_the_window() -> None:
    augmenter = fixed(Augmentation(crop=1, flip=True), (0.0, 0.0, 0.0, 0))
    assert changed(augmenter) == [[[0, 0, 0], [2, 1, 0], [5, 4, 0]]]


@pytest.mark.parametrize(("draw", "turns"), [(0.5, 0), (1.0, 1), (0.0, -1)])
def test_a_right_angle_is_exact(draw: float, turns: int) -> None:
    turned = fixed(Augmentation(rotation=90), (0, 0, 0.9, draw)).pixels(NUMBERED, ALL)
    assert torch.equal(turned, NUMBERED.rot90(turns, (2, 3)))


def test_half_a_turn_of_an_image_that_is_no_square() -> None:
    pixels = torch.arange(8, dtype=torch.uint8).view(1, 1, 2, 4)
    turned = fixed(Augmentation(rotation=180), (0, 0, 0.9, 0.0)).pixels(pixels, ALL)
    assert torch.equal(turned, pixels.rot90(2, (2, 3)))


def test_a_small_angle_turns_as_pillow_does() -> None:
    """Nearest pixels; at most where two are as near may they differ."""
    pixels = torch.randint(0, 256, (1, 1, 32, 32), dtype=torch.uint8)
    turned = fixed(Augmentation(rotation=10), (0, 0, 0.9, 0.9)).pixels(pixels, ALL)[0, 0]
    wanted = Image.fromarray(pixels[0, 0].numpy()).rotate(8)
    assert (turned.numpy() == np.asarray(wanted)).mean() > 0.99


def test_frames_of_a_recording_are_changed_alike() -> None:
    asked = Augmentation(crop=2, flip=True, rotation=30)
    frame = torch.randint(0, 256, (5, 1, 2, 6, 6), dtype=torch.uint8)
    split = Split(frame.expand(5, 4, 2, 6, 6), torch.arange(5))
    augmenter = drawn(asked, 5)
    inputs, labels = split.batch(torch.tensor([3, 1]), augmenter)
    assert inputs.shape == (4, 2, 2, 6, 6)
    assert labels.tolist() == [3, 1]
    assert all(torch.equal(inputs[0], step) for step in inputs)
    still = Split(frame[:, 0].float(), split.labels).batch(torch.tensor([3, 1]), augmenter)[0]
    assert torch.equal(inputs[0], still)


@settings(deadline=None)
@given(
    st.integers(0, 5), st.booleans(), st.floats(0, 180), st.integers(1, 6), st.integers(0, 2**32)
)
def test_a_sample_changes_alike_in_any_batch(
    crop: int, flip: bool, rotation: float, channels: int, seed: int
) -> None:
    asked = Augmentation(crop=crop, flip=flip, rotation=rotation, erasing=0.5)
    split = Split(
        torch.randint(0, 256, (6, channels, 7, 5), dtype=torch.uint8),
        torch.arange(6),
        Normalizer(255, [0.0] * channels, [1.0] * channels),
    )
    augmenter = drawn(asked, 6, seed)
    whole = split.batch(ALL, augmenter)[0]
    order = torch.tensor([4, 0, 5, 1, 3, 2])
    parts = split.batches(order.split([1, 3, 2]), augmenter)
    assert torch.equal(torch.cat([inputs for inputs, _ in parts]), whole[order])


def test_nothing_asked_for_changes_nothing_and_data_stay_as_they_are() -> None:
    inputs = torch.rand(4, 3, 8, 8)
    split = Split(inputs.clone(), torch.arange(4))
    augmenter = drawn(Augmentation(erasing=1.0), 4)
    assert not torch.equal(split.batch(ALL, augmenter)[0], inputs)
    assert torch.equal(split.inputs, inputs)
    assert torch.equal(split.batch(ALL)[0], inputs)


def test_a_rectangle_becomes_noise() -> None:
    inputs = torch.full((400, 3, 16, 16), 7.0)
    erased = drawn(Augmentation(erasing=0.25), 400).erase(inputs, ALL)
    hit = (erased != 7).any(1)
    share = hit.flatten(1).any(1).float().mean().item()
    assert 0.15 < share < 0.35
    sizes = hit.flatten(1).sum(1)
    for mask in hit[sizes > 0]:
        rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
        assert mask.sum() == len(rows) * len(columns), "a rectangle"
        assert rows[-1] - rows[0] + 1 == len(rows)
    areas = sizes[sizes > 0] / 256
    assert areas.min() > 0.005
    assert areas.max() < 0.36
    noise = erased[erased != 7]
    assert abs(noise.mean()) < 0.05
    assert abs(noise.std() - 1) < 0.05
