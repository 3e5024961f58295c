"""Fashion-MNIST from small files, and from the real ones where a system has them."""

from __future__ import annotations

import gzip
import hashlib
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipelines.data import fetch, load_test, load_training
from pipelines.data.download import DATA_VARIABLE
from pipelines.data.sets import fashion_mnist
from pipelines.data.splits import digest, stratified


@pytest.fixture
def small_fashion(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Fashion-MNIST's four files in their own format, with 40 and 20 images."""
    source = tmp_path / "source"
    source.mkdir()
    draw = np.random.default_rng(0)
    contents = {}
    for part, number in (("train", 40), ("t10k", 20)):
        images = draw.integers(0, 256, (number, 28, 28), dtype=np.uint8)
        labels = (np.arange(number) % 10).astype(np.uint8)
        contents[f"{part}-images-idx3-ubyte"] = (
            struct.pack(">I3I", 0x803, number, 28, 28) + images.tobytes()
        )
        contents[f"{part}-labels-idx1-ubyte"] = struct.pack(">II", 0x801, number) + labels.tobytes()
    for name, content in contents.items():
        (source / f"{name}.gz").write_bytes(gzip.compress(content, mtime=0))
    digests = {name: hashlib.sha256(c).hexdigest() for name, c in contents.items()}
    labels = np.arange(40) % 10
    small = replace(
        fashion_mnist.FASHION_MNIST,
        files=digests,
        validation=10,
        splits=digest(stratified("fashion-mnist", labels, (10,))),
        folders=(),
        mirrors=(),
    )
    monkeypatch.setattr(fashion_mnist, "FASHION_MNIST", small)
    return source


def test_fashion_mnist_from_a_folder(
    small_fashion: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(small_fashion))
    fetch("fashion-mnist", tmp_path / "data")
    data = load_training("fashion-mnist", tmp_path / "data")
    test = load_test("fashion-mnist", tmp_path / "data")
    assert (len(data.train), len(data.validation), len(test)) == (30, 10, 20)
    assert data.input_shape == (1, 28, 28)
    assert abs(float(data.train.inputs.mean())) < 1e-4
    assert abs(float(data.train.inputs.std()) - 1) < 1e-2
    assert data.validation.labels.bincount().tolist() == [1] * 10


@pytest.mark.skipif(
    not fashion_mnist.FASHION_MNIST.folders[0].is_dir(),
    reason="install the package dataset-fashion-mnist",
)
def test_the_real_fashion_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    small = replace(fashion_mnist.FASHION_MNIST, mirrors=())
    monkeypatch.setattr(fashion_mnist, "FASHION_MNIST", small)
    fetch("fashion-mnist", tmp_path)
    data = load_training("fashion-mnist", tmp_path)
    assert (len(data.train), len(data.validation)) == (55_000, 5_000)
    assert data.validation.labels.bincount().tolist() == [500] * 10
    test = load_test("fashion-mnist", tmp_path)
    assert test.labels.bincount().tolist() == [1000] * 10
