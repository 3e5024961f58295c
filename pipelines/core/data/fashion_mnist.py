"""Fashion-MNIST (Xiao et al. 2017, arXiv 1708.07747): 70,000 images of 28 x 28 pixels."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.core.data.files import obtain, sha256
from pipelines.core.data.splits import Split, TrainingData, digest, stratified
from pipelines.core.errors import BenchError

NAME = "fashion-mnist"
CLASSES = 10
VALIDATION = 5000
#: SHA-256 of the split indices.
SPLITS = "be4695cd7b7ccb548f3f2f14faf62d3eef20439bec9ad9b215e653340326d5a6"
FOLDERS = (Path("/usr/share/datasets/fashion-mnist"),)
MIRRORS = (
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
)
#: SHA-256 of the uncompressed files.
FILES = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}


def fetch(folder: Path) -> None:
    """Get the four files, uncompressed and verified."""
    for name, content in FILES.items():
        urls = [f"{mirror}{name}.gz" for mirror in MIRRORS]
        obtain(name, content, FOLDERS, urls, folder / name)


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes.

    Raises
    ------
    BenchError
        If the header is not one, or the content has another length than it says.
    """
    raw = path.read_bytes()
    if len(raw) < 4 or raw[:3] != b"\0\0\x08":
        raise BenchError(f"{path} is no IDX file of bytes; delete it and fetch it again")
    rank = raw[3]
    shape = struct.unpack_from(f">{rank}I", raw, 4) if len(raw) >= 4 + 4 * rank else ()
    if not shape or len(raw) != 4 + 4 * rank + int(np.prod(shape)):
        raise BenchError(f"{path} is truncated; delete it and fetch it again")
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)


def read(folder: Path, part: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images [N, 28, 28] and labels [N] of a part, ``train`` or ``t10k``, verified."""
    names = [f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"]
    for name in names:
        if sha256(folder / name) != FILES[name]:
            raise BenchError(f"{folder / name} is damaged; run: dpap-bench fetch {NAME}")
    images, labels = (read_idx(folder / name) for name in names)
    return images, labels.astype(np.int64)


def _split(images: NDArray[np.uint8], labels: NDArray[np.int64], mean: float, std: float) -> Split:
    pixels = torch.from_numpy(images.astype(np.float32)).unsqueeze(1).div_(255)
    return Split(pixels.sub_(mean).div_(std), torch.from_numpy(labels))


def load_training(folder: Path) -> TrainingData:
    """Train and validation split, both from the official training files."""
    images, labels = read(folder, "train")
    parts = stratified(NAME, labels, (VALIDATION,))
    if digest(parts) != SPLITS:
        raise BenchError("the splits are not the published ones; this is a bug, please report it")
    validation, train = parts
    mean, std = _statistics(images[train])
    return TrainingData(
        _split(images[train], labels[train], mean, std),
        _split(images[validation], labels[validation], mean, std),
        CLASSES,
    )


def _statistics(images: NDArray[np.uint8]) -> tuple[float, float]:
    """Mean and standard deviation of the pixels in [0, 1], exact from their histogram."""
    counts = np.bincount(images.ravel(), minlength=256)
    values = np.arange(256) / 255
    mean = float(counts @ values / counts.sum())
    return mean, float(np.sqrt(counts @ (values - mean) ** 2 / counts.sum()))


def load_test(folder: Path) -> Split:
    """The official test files; for `pipelines.core.evaluate` alone."""
    images, labels = read(folder, "train")
    _, train = stratified(NAME, labels, (VALIDATION,))
    mean, std = _statistics(images[train])
    return _split(*read(folder, "t10k"), mean, std)
