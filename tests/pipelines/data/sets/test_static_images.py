"""MNIST and CIFAR: tiny files in their own formats, read by the code that reads the real ones."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import struct
import tarfile
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.common.errors import BenchError
from pipelines.data import SOURCES, fetch, load_test, load_training
from pipelines.data.download import DATA_VARIABLE
from pipelines.data.sets import cifar, mnist
from pipelines.data.sets.idx import IdxFiles
from pipelines.data.splits import Split, stratified

NAMES: dict[str, tuple[ModuleType, str]] = {
    "mnist": (mnist, "MNIST"),
    "cifar-10": (cifar, "CIFAR_10"),
    "cifar-100": (cifar, "CIFAR_100"),
}
CIFAR = ("cifar-10", "cifar-100")
Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]


def made(name: str) -> Any:
    """The data set as it is now."""
    return getattr(*NAMES[name])


def change(monkeypatch: pytest.MonkeyPatch, name: str, **fields: Any) -> None:
    """Expect other files, or splits of another size."""
    monkeypatch.setattr(*NAMES[name], replace(made(name), **fields))


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network in tests")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.delenv(DATA_VARIABLE, raising=False)


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def drawn(name: str, number: int, seed: int) -> tuple[Pixels, Labels]:
    """Images [N, C, H, W], each channel with a range of its own, and labels."""
    shape = (1, 28, 28) if name == "mnist" else (3, 32, 32)
    draw = np.random.default_rng(seed)
    pixels = draw.integers(0, 256, (number, *shape)) // np.arange(1, shape[0] + 1)[:, None, None]
    return pixels.astype(np.uint8), np.arange(number) % made(name).classes


def idx(pixels: Pixels, labels: Labels) -> tuple[bytes, bytes]:
    number = len(pixels)
    images = struct.pack(">I3I", 0x803, number, *pixels.shape[2:]) + pixels.tobytes()
    return images, struct.pack(">II", 0x801, len(labels)) + labels.astype(np.uint8).tobytes()


def records(pixels: Pixels, labels: Labels, label_bytes: int) -> bytes:
    """CIFAR's records; the superclass of CIFAR-100 is one that no class has."""
    before = [bytes([255] * (label_bytes - 1) + [label]) for label in labels.tolist()]
    return b"".join(b + p.tobytes() for b, p in zip(before, pixels, strict=True))


def packed(members: Mapping[str, bytes]) -> bytes:
    """A gzip-compressed tar archive, in another order than the code asks for, and a folder."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        folder = tarfile.TarInfo(next(iter(members)).partition("/")[0])
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in reversed(members.items()):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return gzip.compress(buffer.getvalue(), mtime=0)


def cifar_members(name: str) -> dict[str, bytes]:
    """Members of a small archive: 200 training images, 20 in test."""
    members = {}
    for part, number in (("training", 200), ("test", 20)):
        pixels, labels = drawn(name, number, seed=number)
        cuts = np.array_split(np.arange(number), len(made(name).members[part]))
        for member, cut in zip(made(name).members[part], cuts, strict=True):
            members[member] = records(pixels[cut], labels[cut], made(name).label_bytes)
    return members


Lay = Callable[[str], Path]


@pytest.fixture
def lay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lay:
    """Write the small files of a data set into a folder, and expect their checksums."""

    def write(name: str) -> Path:
        source = tmp_path / "source"
        source.mkdir()
        change(monkeypatch, name, validation=100 if name == "cifar-100" else 20)
        if name == "mnist":
            contents = {}
            for part, number in (("train", 200), ("t10k", 20)):
                images, labels = idx(*drawn(name, number, seed=number))
                contents[f"{part}-images-idx3-ubyte"] = images
                contents[f"{part}-labels-idx1-ubyte"] = labels
            change(monkeypatch, name, files={n: sha(c) for n, c in contents.items()})
            for file, content in contents.items():
                (source / f"{file}.gz").write_bytes(gzip.compress(content, mtime=0))
        else:
            put(name, source, packed(cifar_members(name)), monkeypatch)
        return source

    return write


def put(name: str, folder: Path, archive: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a CIFAR archive, and expect its checksum."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / made(name).file).write_bytes(archive)
    change(monkeypatch, name, content=sha(archive))


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
    name: str, lay: Lay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(lay(name)))
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
def test_files_may_be_put_into_the_data_folder_by_hand(name: str, lay: Lay, tmp_path: Path) -> None:
    lay(name).rename(tmp_path / name)
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
    name: str, lay: Lay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(lay(name)))
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


@pytest.mark.parametrize("name", CIFAR)
def test_the_archive_of_pickles_is_refused(
    name: str, lay: Lay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    lay(name)
    trap = pickle.dumps(Trap())
    folder = tmp_path / "data" / name
    put(name, folder, packed({"cifar-10-batches-py/data_batch_1": trap}), monkeypatch)
    with pytest.raises(BenchError, match="another archive, perhaps that of the pickles: put cifar"):
        load_training(name, tmp_path / "data")
    put(name, folder, packed(dict.fromkeys(made(name).members["training"], trap)), monkeypatch)
    with pytest.raises(BenchError, match=f"bytes, which are no records of .*fetch {name}"):
        load_training(name, tmp_path / "data")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", CIFAR)
def test_archives_that_are_wrong_inside(
    name: str, lay: Lay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay(name)
    members = cifar_members(name)
    last = made(name).members["training"][-1]
    lacking = {member: content for member, content in members.items() if member != last}
    foreign = bytearray(members[last])
    foreign[made(name).label_bytes - 1] = made(name).classes
    whole = packed(members)
    width = made(name).label_bytes + 3072
    tar = gzip.decompress(whole)
    end = tar.index(members[last]) + 2 * width  # after two whole records
    for archive, reason in [
        (packed(lacking), f"has no {last}"),
        (packed(members | {last: members[last][:-1]}), "which are no records"),
        (packed(members | {last: b""}), "has 0 bytes"),
        (
            packed(members | {last: bytes(foreign)}),
            f"training label {made(name).classes}, but {name}",
        ),
        (whole[: len(whole) // 2], "no whole tar.gz archive"),
        (gzip.compress(tar[:end]), "no whole tar.gz archive"),
        (tar, "no whole tar.gz archive"),
        (b"<html>moved</html>", "no whole tar.gz archive"),
        (b"", "no whole tar.gz archive"),
    ]:
        put(name, tmp_path / "data" / name, archive, monkeypatch)
        with pytest.raises(BenchError, match=reason) as caught:
            load_training(name, tmp_path / "data")
        assert any(word in str(caught.value) for word in ("fetch", "put")), "what to do"


def test_a_link_in_the_archive_is_no_way_out(
    lay: Lay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay("cifar-100")
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(3074))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        link = tarfile.TarInfo(made("cifar-100").members["training"][0])
        link.type, link.linkname = tarfile.SYMTYPE, str(secret)
        archive.addfile(link)
    put("cifar-100", tmp_path / "data" / "cifar-100", buffer.getvalue(), monkeypatch)
    with pytest.raises(BenchError, match="no whole tar"):
        load_training("cifar-100", tmp_path / "data")


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


def test_another_split_than_the_published_one(tmp_path: Path, lay: Lay) -> None:
    lay("mnist").rename(tmp_path / "mnist")
    fetch("mnist", tmp_path)
    files = IdxFiles("mnist", 10, 20, "0" * 64, made("mnist").files, ())
    with pytest.raises(BenchError, match="not the published ones"):
        files.load_training(tmp_path / "mnist")


@pytest.mark.parametrize("name", NAMES)
def test_addresses_and_checksums_are_whole(name: str) -> None:
    assert all(m.startswith("https://") and m.endswith("/") for m in made(name).mirrors)
    digests = made(name).files.values() if name == "mnist" else [made(name).content]
    assert all(len(bytes.fromhex(digest)) == 32 for digest in digests)
    assert f"{made(name).classes} classes" in SOURCES[name].summary
