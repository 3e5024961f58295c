"""Image data sets in memory: splits, normalisation, missing and damaged files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.common.errors import BenchError
from pipelines.data import SOURCES, fetch, load_test, load_training
from pipelines.data.download import DATA_VARIABLE
from pipelines.data.sets.idx import IdxFiles
from pipelines.data.splits import Split, stratified
from tests.helpers.image_files import NAMES, Labels, Pixels, drawn, idx, lay, made, sha


def expected(pixels: Pixels, train: Pixels) -> NDArray[np.float64]:
    """Pixels normalised by the channels of the training split, in double precision."""
    scaled = train / 255
    mean, std = scaled.mean((0, 2, 3), keepdims=True), scaled.std((0, 2, 3), keepdims=True)
    return np.asarray((pixels / 255 - mean) / std)


def assert_is(split: Split, pixels: NDArray[np.float64], labels: Labels) -> None:
    np.testing.assert_allclose(split.inputs.numpy(), pixels, atol=2e-6)
    assert split.labels.tolist() == labels.tolist()
    assert split.inputs.is_contiguous()


@pytest.mark.parametrize("name", NAMES)
def test_every_pixel_and_label_arrives(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(lay(name, tmp_path / "source", monkeypatch)))
    fetch(name, tmp_path / "data")
    monkeypatch.delenv(DATA_VARIABLE)
    fetch(name, tmp_path / "data")  # nothing more to get
    data = load_training(name, tmp_path / "data")
    pixels, labels = drawn(name, 200, seed=200)
    validation, train = stratified(name, labels, (made(name).validation,))
    assert_is(data.train, expected(pixels[train], pixels[train]), labels[train])
    assert_is(data.validation, expected(pixels[validation], pixels[train]), labels[validation])
    test, test_labels = drawn(name, 20, seed=20)
    assert_is(load_test(name, tmp_path / "data"), expected(test, pixels[train]), test_labels)
    assert data.classes == made(name).classes
    assert len(set(data.validation.labels.bincount().tolist())) == 1, "every class alike"
    assert not any((tmp_path / "data").rglob("*.bin")), "nothing is unpacked"


@pytest.mark.parametrize("name", NAMES)
def test_files_may_be_put_into_the_data_folder_by_hand(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay(name, tmp_path / "source", monkeypatch).rename(tmp_path / name)
    fetch(name, tmp_path)
    assert len(load_training(name, tmp_path).train) == 200 - made(name).validation


@pytest.mark.parametrize("name", NAMES)
def test_what_to_do_without_network(name: str, tmp_path: Path) -> None:
    with pytest.raises(BenchError) as caught:
        fetch(name, tmp_path)
    message = str(caught.value)
    assert f"into {tmp_path / name}, or into a folder that you name in {DATA_VARIABLE}" in message
    assert "no network in tests" in message
    assert ".gz.gz" not in message
    with pytest.raises(BenchError, match=f"is missing; run: dpap-bench fetch {name}"):
        load_training(name, tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_damage_of_any_kind_is_found_and_mended(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(lay(name, tmp_path / "source", monkeypatch)))
    fetch(name, tmp_path)
    path = max((tmp_path / name).iterdir(), key=lambda file: file.stat().st_size)
    good = path.read_bytes()
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 1
    for damage in (good[:-1], bytes(flipped), b""):
        path.write_bytes(damage)
        with pytest.raises(BenchError, match=f"is damaged; run: dpap-bench fetch {name}"):
            load_training(name, tmp_path)
        fetch(name, tmp_path)
        assert path.read_bytes() == good


@pytest.mark.parametrize(
    ("images", "labels", "reason"),
    [(20, 19, "20 training images, but 19 labels"), (20, 20, "training label 10, but mnist")],
)
def test_idx_files_that_do_not_fit_each_other(
    tmp_path: Path, images: int, labels: int, reason: str
) -> None:
    pixels, classes = drawn("mnist", images, seed=0)
    contents = idx(pixels, classes[:labels] + (images == labels))
    names = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
    for name, content in zip(names, contents, strict=True):
        (tmp_path / name).write_bytes(content)
    files = {name: sha(content) for name, content in zip(names, contents, strict=True)}
    with pytest.raises(BenchError, match=f"{reason}.*run: dpap-bench fetch mnist"):
        IdxFiles("mnist", 10, 10, None, files, ()).load_training(tmp_path)


def test_another_split_than_the_published_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay("mnist", tmp_path / "source", monkeypatch).rename(tmp_path / "mnist")
    fetch("mnist", tmp_path)
    files = IdxFiles("mnist", 10, 20, "0" * 64, made("mnist").files, ())
    with pytest.raises(BenchError, match="not the published ones"):
        files.load_training(tmp_path / "mnist")


@pytest.mark.parametrize("name", NAMES)
def test_addresses_and_checksums_are_whole(name: str) -> None:
    if name == "mnist":
        urls, digests = made(name).mirrors, list(made(name).files.values())
        assert all(url.endswith("/") for url in urls)
    else:
        urls, digests = made(name).archive.urls, [made(name).archive.checksum[len("sha256:") :]]
        assert all(url.endswith(f"/{made(name).archive.name}") for url in urls)
    assert all(url.startswith("https://") for url in urls)
    assert all(len(bytes.fromhex(digest)) == 32 for digest in digests)
    assert f"{made(name).classes} classes" in SOURCES[name].summary
