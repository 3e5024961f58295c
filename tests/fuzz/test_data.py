"""Damaged data files, archives and checkpoints: each reader refuses them in one sentence."""

from __future__ import annotations

import gzip
import io
import shutil
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import strategies as st

from pipelines.common import archives
from pipelines.common.errors import BenchError
from pipelines.data.events import Binning
from pipelines.data.sets import aedat3, atis, digits, idx
from pipelines.records.checkpoint import read_checkpoint, stored_digest, write_checkpoint
from tests.helpers.event_files import HEADER, packet, write_n_mnist
from tests.helpers.fuzzing import damaged, fuzz, fuzz_long

BINNING = Binning(2)


def unpack(path: Path) -> None:
    to = path.with_name("unpacked")
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir()
    archives.unpack(path, to, most_bytes=1 << 20)


def read_digits(path: Path) -> None:
    shutil.copy(path, path.with_name(digits.FILE))
    digits.load_training(path.parent)


def read_checkpoints(path: Path) -> None:
    read_checkpoint(path, "0", {"1"})
    stored_digest(path)


def read_shd(path: Path) -> None:
    """tonic reads the events; this repository the labels."""
    tonic_sets = pytest.importorskip("pipelines.data.sets.tonic_sets")
    pytest.importorskip("tonic", reason="needs the extra 'events'")
    folder = path.parent / "SHD"
    folder.mkdir(exist_ok=True)
    shutil.copy(path, folder / "shd_train.h5")
    tonic_sets.SHD.load_training(path.parent, BINNING)


def npy() -> bytes:
    file = io.BytesIO()
    np.save(file, np.arange(195, dtype=np.uint8).reshape(3, 65))
    return file.getvalue()


def hdf5(folder: Path) -> bytes:
    h5py = pytest.importorskip("h5py", reason="needs the extra 'events'")
    with h5py.File(folder / "x.h5", "w") as file:
        file["labels"] = np.arange(4)
        for name, kind in (("times", np.float16), ("units", np.uint16)):
            rows = file.create_dataset(f"spikes/{name}", (4,), dtype=h5py.vlen_dtype(kind))
            for row in range(4):
                rows[row] = np.arange(3).astype(kind)
    return (folder / "x.h5").read_bytes()


def packed(folder: Path) -> bytes:
    (folder / "in").mkdir(exist_ok=True)
    (folder / "in" / "x").write_bytes(b"abc")
    archives.pack(folder / "in", folder / "x.tar.gz")
    return (folder / "x.tar.gz").read_bytes()


def zipped(folder: Path) -> bytes:
    write_n_mnist(folder / "x.zip", 4)
    return (folder / "x.zip").read_bytes()


def weights(folder: Path) -> bytes:
    write_checkpoint(folder / "x.safetensors", {"a": torch.zeros(3)}, "0", "1")
    return (folder / "x.safetensors").read_bytes()


IDX = b"\0\0\x08\x03" + struct.pack(">3I", 2, 3, 4) + bytes(24)
AEDAT = HEADER + packet((1, 2, 3, 1), (5, 6, 7, 0)) + packet((1, 1, 1, 1), kind=2)
#: Format -> a file of it, and how it is read.
FORMATS: dict[str, tuple[Callable[[Path], bytes], Callable[[Path], object]]] = {
    "npy": (lambda _: npy(), read_digits),
    "idx": (lambda _: IDX, idx.read_idx),
    "aedat": (
        lambda _: AEDAT,
        lambda path: BINNING.frames(aedat3.read_aedat3(path), 128, 128),
    ),
    "zip of recordings": (zipped, lambda path: atis.read_frames(path, BINNING, 34, 34, True)),
    "digest of recordings": (zipped, atis.digest),
    "zip": (zipped, unpack),
    "tar.gz": (packed, unpack),
    "tar": (
        lambda folder: gzip.decompress(packed(folder)),
        lambda path: unpack(_compressed(path)),
    ),
    "safetensors": (weights, read_checkpoints),
    "hdf5": (hdf5, read_shd),
}
#: The formats share the examples.
changes = st.data()


def _compressed(path: Path) -> Path:
    path.write_bytes(gzip.compress(path.read_bytes(), 1))
    return path


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


def use(data: st.DataObject, name: str, here: Path) -> None:
    make, read = FORMATS[name]
    if name not in GOOD:
        GOOD[name] = make(here)
    path = here / "damaged"
    path.write_bytes(data.draw(damaged(GOOD[name], header=128)))
    with suppress(BenchError):
        read(path)


GOOD: dict[str, bytes] = {}


@pytest.mark.parametrize("name", FORMATS)
@fuzz(data=changes)
def test_a_damaged_file_is_refused_or_read(here: Path, name: str, data: st.DataObject) -> None:
    use(data, name, here)


@pytest.mark.parametrize("name", FORMATS)
@fuzz_long(data=changes)
def test_many_damaged_files(here: Path, name: str, data: st.DataObject) -> None:
    use(data, name, here)
