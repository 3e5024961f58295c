"""CIFAR-10 in JPEG files, from small archives in the same format."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.common.errors import BenchError
from pipelines.data import fetch, load_test, load_training
from pipelines.data.download import DATA_VARIABLE
from pipelines.data.sets import cifar_jpeg

NAME = "cifar-10-jpeg"
#: Images of each class in the training part and in the test part.
COUNTS = {"train": 6, "test": 2}


def drawn(part: str, number: int, label: int) -> bytes:
    """A JPEG file of one colour, which tells part, number and class."""
    colour = (20 * label, 100 if part == "test" else 10, 8 * number)
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), colour).save(buffer, "JPEG", quality=75)
    return buffer.getvalue()


def files(part: str) -> dict[str, bytes]:
    return {
        f"{part}/{name}/{number:04d}.jpg": drawn(part, number, label)
        for label, name in enumerate(cifar_jpeg.CLASSES)
        for number in range(COUNTS[part])
    }


def pack(path: Path, contents: Mapping[str, bytes], prefix: str = "") -> None:
    """Write an archive, in another order than that of the paths."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in sorted(contents, reverse=True):
            archive.writestr(prefix + name, contents[name])


def records(part: str) -> bytes:
    """What the files of a part are decoded to, by Pillow, one by one."""
    whole = b""
    for name, content in sorted(files(part).items()):
        pixels = np.asarray(Image.open(io.BytesIO(content)))
        label = cifar_jpeg.CLASSES.index(name.split("/")[1])
        whole += bytes([label]) + b"".join(pixels[..., c].tobytes() for c in range(3))
    return whole


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with two small archives, which DPAP_BENCH_DATA names."""
    whole = files("test") | files("train")
    digest = hashlib.sha256()
    for name in [*files("test"), *files("train")]:  # written in the order of their paths
        digest.update(name.encode() + b"\0" + hashlib.sha256(whole[name]).digest())
    small = replace(
        cifar_jpeg.CIFAR_10_JPEG,
        validation=20,
        splits=None,
        files=digest.hexdigest(),
        decoded={
            "training": hashlib.sha256(records("train")).hexdigest(),
            "test": hashlib.sha256(records("test")).hexdigest(),
        },
    )
    monkeypatch.setattr(cifar_jpeg, "CIFAR_10_JPEG", small)
    folder = tmp_path / "source"
    folder.mkdir()
    for part in COUNTS:
        pack(folder / f"{part}.zip", files(part))
    monkeypatch.setenv(DATA_VARIABLE, str(folder))
    return folder


def test_images_become_splits_of_all_classes(source: Path, tmp_path: Path) -> None:
    folder = fetch(NAME, tmp_path)
    assert {path.name for path in folder.iterdir()} == {"train.bin", "test.bin"}
    data = load_training(NAME, tmp_path)
    assert (len(data.train), len(data.validation)) == (40, 20)
    assert data.input_shape == (3, 32, 32)
    assert data.validation.labels.bincount().tolist() == [2] * 10
    test = load_test(NAME, tmp_path)
    assert test.labels.tolist() == [label for label in range(10) for _ in range(2)]


def test_pixels_are_those_of_the_files(source: Path, tmp_path: Path) -> None:
    folder = fetch(NAME, tmp_path)
    images = cifar_jpeg.CIFAR_10_JPEG.read(folder, "training")
    ship = images.pixels[8 * 6 + 3]  # the fourth image of class 8; JPEG moves colours a little
    assert np.abs(ship.reshape(3, -1).mean(1) - [160, 10, 24]).max() < 4
    assert images.labels[8 * 6 + 3] == 8


def test_nothing_is_decoded_again(source: Path, tmp_path: Path) -> None:
    fetch(NAME, tmp_path)
    for path in source.iterdir():
        path.unlink()
    fetch(NAME, tmp_path)


def test_the_archive_of_the_whole_repository_is_read_too(source: Path, tmp_path: Path) -> None:
    for path in source.iterdir():
        path.unlink()
    pack(
        source / "cifar-10-images.zip",
        files("train") | files("test") | {"README.md": b"CIFAR-10 images"},
        prefix=f"CIFAR-10-images-{cifar_jpeg.COMMIT}/",
    )
    fetch(NAME, tmp_path)
    assert len(load_test(NAME, tmp_path)) == 20


def test_other_files_are_refused(source: Path, tmp_path: Path) -> None:
    changed = files("train") | {"train/cat/0000.jpg": drawn("train", 9, 3)}
    pack(source / "train.zip", changed)
    with pytest.raises(BenchError, match="do not hold the published files; get them again"):
        fetch(NAME, tmp_path)
    assert not (tmp_path / NAME).exists()


def test_another_decoder_is_noticed(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(cifar_jpeg.CIFAR_10_JPEG, decoded={"training": "0" * 64, "test": "0" * 64})
    monkeypatch.setattr(cifar_jpeg, "CIFAR_10_JPEG", other)
    with pytest.raises(BenchError, match=r"train\.bin has other content: the JPEG decoder"):
        fetch(NAME, tmp_path)


def test_damaged_records_are_refused(source: Path, tmp_path: Path) -> None:
    path = fetch(NAME, tmp_path) / "train.bin"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(BenchError, match="has other content; run: dpap-bench fetch cifar-10-jpeg"):
        load_training(NAME, tmp_path)


def test_without_archives_and_network_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"put that archive, as cifar-10-images\.zip, or train"):
        fetch(NAME, tmp_path)
