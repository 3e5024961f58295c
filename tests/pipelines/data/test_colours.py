"""RandAugment and colour jitter."""

from __future__ import annotations

import importlib.util
import random
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from pipelines.data.augment import Augmenter
from pipelines.data.colours import OPERATIONS, change_colours
from pipelines.data.normalizer import Normalizer
from pipelines.data.splits import Split
from pipelines.settings.augmentation import Augmentation

POLICY = "rand-m9-mstd0.5-inc1"
ALL = slice(None)


def drawn(asked: Augmentation, samples: int, seed: int = 0) -> Augmenter:
    generator = torch.Generator().manual_seed(seed)
    return Augmenter.of_epoch(asked, samples, generator, torch.device("cpu"))


def picture(seed: int = 0, size: tuple[int, int] = (32, 32)) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return draw.integers(0, 256, (3, *size), dtype=np.uint8)


def by_hand(name: str, strength: float, sign: int, *values: int) -> list[int]:
    """What an operation makes of the first channel of some grey pixels in a row."""
    image = Image.fromarray(np.array([[[v] * 3 for v in values]], np.uint8))
    return np.asarray(OPERATIONS[name](image, strength, sign))[0, :, 0].tolist()


def test_operations_by_hand() -> None:
    assert by_hand("Invert", 0.5, 1, 0, 10, 255) == [255, 245, 0]
    assert by_hand("PosterizeIncreasing", 0.5, 1, 63, 64, 255) == [0, 64, 192]  # 2 bits
    assert by_hand("PosterizeIncreasing", 1.0, 1, 1, 128, 255) == [0, 0, 0]  # none
    assert by_hand("SolarizeIncreasing", 0.5, 1, 127, 128, 255) == [127, 127, 0]  # from 128 on
    assert by_hand("SolarizeAdd", 1.0, 1, 0, 127, 128) == [110, 237, 128]
    assert by_hand("BrightnessIncreasing", 1.0, -1, 100, 200, 0) == [10, 20, 0]  # a tenth
    assert by_hand("AutoContrast", 0.5, 1, 50, 100, 150) == [0, 127, 255]
    assert by_hand("TranslateXRel", 1.0, 1, *range(0, 200, 10))[0] == 90  # 0.45 x 20 pixels
    assert len(OPERATIONS) == 15


def test_colours_are_a_function_of_the_sample() -> None:
    asked = Augmentation(policy=POLICY, colour_jitter=0.4)
    images = torch.from_numpy(np.stack([picture(i) for i in range(8)]))
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    split = Split(images, torch.arange(8), Normalizer(255, [0.0] * 3, [1.0] * 3))
    whole = split.batch(ALL, drawn(asked, 8))[0]
    again = split.batches(torch.arange(8).flip(0).split(3), drawn(asked, 8))
    assert torch.equal(torch.cat([inputs for inputs, _ in again]).flip(0), whole)
    other = split.batch(ALL, drawn(asked, 8, seed=1))[0]
    assert not torch.equal(other, whole)
    assert random.getstate() == before[0]
    assert np.random.get_state()[1].tolist() == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])


def test_as_many_operations_as_the_policy_says(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []

    def note(image: Image.Image, strength: float, sign: int) -> Image.Image:
        assert sign in (1, -1)
        seen.append(strength)
        return image

    for name in list(OPERATIONS):
        monkeypatch.setitem(OPERATIONS, name, note)
    for i in range(500):
        change_colours(picture(), Augmentation(policy=POLICY), random.Random(i))
    assert 430 < len(seen) < 570, "two, each with probability 1/2"
    assert max(seen) == 1.0
    assert abs(np.mean(seen) - 0.9) < 0.01
    seen.clear()
    for i in range(100):
        change_colours(picture(), Augmentation(policy="rand-m7-n4-inc1"), random.Random(i))
    assert 160 < len(seen) < 240
    assert set(seen) == {0.7}


def test_jitter_stays_in_its_range() -> None:
    grey = np.full((3, 4, 4), 100, np.uint8)
    found = {
        int(change_colours(grey, Augmentation(colour_jitter=0.4), random.Random(i))[0, 0, 0])
        for i in range(300)
    }
    assert 60 <= min(found) < 65  # brightness alone moves an even grey
    assert 135 < max(found) <= 140


@pytest.fixture
def timm() -> ModuleType:
    """timm's module of policies; it is loaded alone, because timm needs torchvision."""
    found = importlib.util.find_spec("timm")
    if found is None or not found.submodule_search_locations:
        pytest.skip("timm is not installed")
    path = Path(found.submodule_search_locations[0]) / "data" / "auto_augment.py"
    spec = importlib.util.spec_from_file_location("timm_auto_augment", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("magnitude", [0, 1, 3.3, 7.5, 9, 9.9, 10])
def test_operations_are_those_of_timm(
    timm: ModuleType, monkeypatch: pytest.MonkeyPatch, magnitude: float, sign: int
) -> None:
    monkeypatch.setattr(timm, "_randomly_negate", lambda value: sign * value)
    settings = {"img_mean": (124, 116, 104), "interpolation": Image.Resampling.BICUBIC}
    theirs = timm.rand_augment_transform(f"{POLICY}-p1.0", settings)
    assert theirs.num_layers == 2
    assert [operation.name for operation in theirs.ops] == list(OPERATIONS)
    image = Image.fromarray(picture(3, (24, 40)).transpose(1, 2, 0))
    for operation in theirs.ops:
        operation.magnitude, operation.magnitude_std = magnitude, 0
        if operation.name == "PosterizeIncreasing" and magnitude == 10:
            continue  # no bit is left, and newer versions of Pillow refuse
        mine = OPERATIONS[operation.name](image, magnitude / 10, sign)
        assert np.array_equal(np.asarray(operation(image)), np.asarray(mine)), operation.name
