"""Fixed splits, the same on every machine and under every library version.

Samples are ordered by the SHA-256 of their number, so that no random number generator can
change a split; every class gives the same share.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Samples of one split.

    Parameters
    ----------
    inputs
        [N, C, H, W] float32, or event frames [N, T, C, H, W] uint8.
    labels
        [N] int64.
    """

    inputs: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, at: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Some samples as a network takes them: [B, C, H, W] or [T, B, C, H, W], and labels."""
        inputs = self.inputs[at]
        if inputs.dim() == 5:  # a byte for each number in memory, four only in a batch
            inputs = inputs.transpose(0, 1).to(torch.get_default_dtype())
        return inputs, self.labels[at]

    def part(self, indices: Indices) -> Split:
        """Return the samples of these numbers."""
        return Split(self.inputs[indices], self.labels[indices])

    def to(self, device: torch.device) -> Split:
        """Return the split on a device."""
        return Split(self.inputs.to(device), self.labels.to(device))


@dataclass(frozen=True)
class TrainingData:
    """What a run may learn from and choose by. The test split is not here.

    Parameters
    ----------
    train, validation
        The two splits.
    classes
        Number of classes.
    """

    train: Split
    validation: Split
    classes: int

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Shape of one sample at one step, [C, H, W]."""
        channels, height, width = self.train.inputs.shape[-3:]
        return channels, height, width

    @property
    def device(self) -> torch.device:
        """Where the samples are."""
        return self.train.inputs.device

    def to(self, device: torch.device) -> TrainingData:
        """Return both splits on a device."""
        return TrainingData(self.train.to(device), self.validation.to(device), self.classes)


def batch_sizes(samples: int, size: int) -> list[int]:
    """Cut samples into batches; batch norm cannot train on one sample, so none is left alone."""
    sizes = [size] * (samples // size) + ([samples % size] if samples % size else [])
    if len(sizes) > 1 and sizes[-1] == 1:
        sizes[-2:] = [size + 1]
    return sizes


def hash_order(name: str, indices: Indices) -> Indices:
    """Order sample numbers by the SHA-256 of ``name:number``."""
    keys = [hashlib.sha256(f"{name}:{i}".encode()).digest() for i in indices]
    return indices[sorted(range(len(keys)), key=keys.__getitem__)]


def stratified(name: str, labels: NDArray[np.int64], sizes: Sequence[int]) -> list[Indices]:
    """Cut samples into splits of the given sizes, plus the rest, class by class.

    Parameters
    ----------
    name
        Salt of the order; the data set's name.
    labels
        [N].
    sizes
        Wanted samples per split; classes give shares rounded by largest remainder.

    Returns
    -------
    list of arrays
        Sorted sample numbers: one array per size, then the rest.

    Raises
    ------
    ValueError
        If more samples are wanted than there are.
    """
    if sum(sizes) > len(labels):
        raise ValueError(f"splits of {sum(sizes)} samples do not fit into {len(labels)}")
    queues = [hash_order(name, np.flatnonzero(labels == c)) for c in np.unique(labels)]
    parts: list[Indices] = []
    for size in sizes:
        left = np.array([len(q) for q in queues])
        quota = size * left / left.sum()
        take = np.floor(quota).astype(int)
        for c in np.argsort(take - quota, kind="stable")[: size - take.sum()]:
            take[c] += 1
        parts.append(np.sort(np.concatenate([q[:n] for q, n in zip(queues, take, strict=True)])))
        queues = [q[n:] for q, n in zip(queues, take, strict=True)]
    parts.append(np.sort(np.concatenate(queues)))
    return parts


def digest(parts: Sequence[Indices]) -> str:
    """SHA-256 over the sample numbers of all splits."""
    total = hashlib.sha256()
    for part in parts:
        total.update(np.ascontiguousarray(part, dtype="<i8").tobytes() + b"|")
    return total.hexdigest()
