"""The data set of tuning, from small files in the format of Fashion-MNIST."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.common.errors import BenchError
from pipelines.data import fetch, load_test, load_training
from pipelines.data.download import DATA_VARIABLE
from pipelines.data.sets import fashion_mnist, fashion_tuning
from tests.helpers.image_files import idx

NAME = "fashion-tuning"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A data folder; the source has 60 training images and no test images at all."""
    source = tmp_path / "source"
    source.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (60, 1, 28, 28)).astype(np.uint8)
    images, labels = idx(pixels, np.arange(60) % 10)
    files = {"train-images-idx3-ubyte": images, "train-labels-idx1-ubyte": labels}
    for name, content in files.items():
        (source / f"{name}.gz").write_bytes(gzip.compress(content, mtime=0))
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    still = replace(fashion_mnist.FASHION_MNIST, files=digests, folders=(), mirrors=())
    monkeypatch.setattr(fashion_mnist, "FASHION_MNIST", still)
    chosen = replace(fashion_tuning.FASHION_TUNING, train=30, validation=20, splits=None)
    monkeypatch.setattr(fashion_tuning, "FASHION_TUNING", chosen)
    monkeypatch.setenv(DATA_VARIABLE, str(source))
    fetch(NAME, tmp_path / "data")
    return tmp_path / "data"


def test_both_splits_come_from_the_first_training_images(small: Path) -> None:
    assert {path.name[:5] for path in (small / NAME).iterdir()} == {"train"}, "no test image"
    data = load_training(NAME, small)
    assert (len(data.train), len(data.validation)) == (30, 20)
    assert data.input_shape == (1, 14, 14)
    assert data.validation.labels.bincount().tolist() == [2] * 10
    assert torch.cat([data.train.labels, data.validation.labels]).bincount().tolist() == [5] * 10


def test_there_is_no_test_split(small: Path) -> None:
    with pytest.raises(BenchError, match="has no test split, it is for dpap-bench tune alone"):
        load_test(NAME, small)


def test_pixels_are_averaged_and_rounded() -> None:
    pixels = np.array([[0, 1, 255, 255], [1, 0, 255, 254]], dtype=np.uint8)[None, None]
    assert fashion_tuning.halved(pixels).tolist() == [[[[1, 255]]]]  # 2 / 4 and 1019 / 4, half up


@pytest.mark.skipif(
    not fashion_mnist.FASHION_MNIST.folders[0].is_dir(),
    reason="install the package dataset-fashion-mnist",
)
def test_the_real_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    monkeypatch.setattr(
        fashion_mnist, "FASHION_MNIST", replace(fashion_mnist.FASHION_MNIST, mirrors=())
    )
    fetch(NAME, tmp_path)
    data = load_training(NAME, tmp_path)
    assert (len(data.train), len(data.validation)) == (3000, 2000)
    assert data.validation.labels.bincount().min() > 150
