"""Small files in the formats of the image data sets."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import tarfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipelines.data.sets import cifar, mnist

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


def put(name: str, folder: Path, archive: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a CIFAR archive, and expect its checksum."""
    folder.mkdir(parents=True, exist_ok=True)
    remote = made(name).archive
    (folder / remote.name).write_bytes(archive)
    change(monkeypatch, name, archive=replace(remote, checksum=f"sha256:{sha(archive)}"))


def lay(name: str, source: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write the small files of a data set into a folder, and expect their checksums."""
    source.mkdir(parents=True, exist_ok=True)
    change(monkeypatch, name, validation=100 if name == "cifar-100" else 20)
    if name != "mnist":
        put(name, source, packed(cifar_members(name)), monkeypatch)
        return source
    contents = {}
    for part, number in (("train", 200), ("t10k", 20)):
        images, labels = idx(*drawn(name, number, seed=number))
        contents |= {f"{part}-images-idx3-ubyte": images, f"{part}-labels-idx1-ubyte": labels}
    change(monkeypatch, name, files={n: sha(c) for n, c in contents.items()})
    for file, content in contents.items():
        (source / f"{file}.gz").write_bytes(gzip.compress(content, mtime=0))
    return source


def save(path: Path, red: int, mode: str = "RGB", size: tuple[int, int] = (80, 60)) -> None:
    """An even image, whose red tells which one it is; lossy, so by about two levels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (red, 128, 128)).convert(mode).save(path, format="JPEG", quality=95)
