"""Streamed images: crops."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipelines.data.streaming import centre, random_part


def test_the_centre_by_hand() -> None:
    """Columns of 512 x 300: 256 high makes 436 wide, of which 106 to 330 are kept."""
    wide = np.broadcast_to((np.arange(512) // 2).astype(np.uint8)[None, :, None], (300, 512, 3))
    found = np.asarray(centre(Image.fromarray(np.ascontiguousarray(wide))))
    assert found.shape == (224, 224, 3)
    scale = 512 / 436
    wanted = (np.arange(106, 330) + 0.5) * scale / 2
    assert np.abs(found[0, :, 0] - wanted).max() < 1.5
    tall = centre(Image.new("RGB", (10, 2000)))
    assert tall.size == (224, 224)


@settings(deadline=None)
@given(st.integers(1, 400), st.integers(1, 400), st.integers(0, 2**32))
def test_a_random_part_is_inside(width: int, height: int, seed: int) -> None:
    image = Image.new("RGB", (width, height), (255, 255, 255))
    part = random_part(image, random.Random(seed))
    assert part.size == (224, 224)
    assert np.asarray(part).min() == 255, "nothing from outside"


def test_random_parts_have_the_sizes_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    boxes: list[tuple[int, int, int, int]] = []
    crop = Image.Image.crop

    def note(self: Image.Image, box: Any) -> Image.Image:
        boxes.append(box)
        return crop(self, box)

    monkeypatch.setattr(Image.Image, "crop", note)
    for seed in range(200):
        random_part(Image.new("RGB", (400, 300)), random.Random(seed))
    sizes = np.array([(right - left, low - top) for left, top, right, low in boxes])
    areas, shapes = sizes.prod(1) / 120_000, sizes[:, 0] / sizes[:, 1]
    assert 0.07 < areas.min() < 0.15
    assert 0.85 < areas.max() <= 1
    assert shapes.min() > 0.73
    assert shapes.max() < 1.36
    boxes.clear()
    random_part(Image.new("RGB", (1000, 10)), random.Random(0))  # nothing fits: its centre
    assert boxes == [(493, 0, 506, 10)]
