"""Splits: their samples, and how they are cut the same way on every machine.

Samples are ordered by the SHA-256 of their number, so no random number generator can change a
split. Every class gives the same share.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipelines.data.augment import Augmenter
from pipelines.data.normalizer import Normalizer
from pipelines.data.prefetch import ahead

Indices = NDArray[np.int64]
Batch = tuple[Tensor, Tensor]
_BATCHES_AHEAD = 3


class Samples(Protocol):
    """Samples of one split, in memory or streamed from files."""

    @property
    def labels(self) -> Tensor:
        """[N] int64."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one sample at one step, [C, H, W]."""

    @property
    def device(self) -> torch.device:
        """Device of the batches."""

    def __len__(self) -> int: ...

    def batch(self, at: Tensor | slice, augmenter: Augmenter | None = None) -> Batch:
        """Return some samples as network input [B, C, H, W] or [T, B, C, H, W], and labels [B].

        Parameters
        ----------
        at
            Indices of the samples.
        augmenter
            Augmentation of this epoch; None for none.
        """

    def batches(
        self, cuts: Sequence[Tensor | slice], augmenter: Augmenter | None = None
    ) -> Iterator[Batch]:
        """Iterate over batches; slow work is done ahead in threads."""

    def to(self, device: torch.device) -> Samples:
        """Return the split on a device."""

    def normalized(self) -> Samples:
        """Return the split with normalised inputs if it is in memory, else unchanged."""


@dataclass(frozen=True)
class Split:
    """Samples in memory.

    Parameters
    ----------
    inputs
        Normalised [N, C, H, W] float32, event frames [N, T, C, H, W] uint8, or pixels
        [N, C, H, W] uint8.
    labels
        [N] int64.
    normalizer
        Normalises pixels batch by batch; None if `inputs` are not pixels.
    """

    inputs: Tensor
    labels: Tensor
    normalizer: Normalizer | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one sample at one step, [C, H, W]."""
        channels, height, width = self.inputs.shape[-3:]
        return channels, height, width

    @property
    def device(self) -> torch.device:
        """Device of the samples."""
        return self.inputs.device

    def batch(self, at: Tensor | slice, augmenter: Augmenter | None = None) -> Batch:
        """See `Samples`."""
        inputs = finished(self.inputs[at], at, self.normalizer, augmenter)
        if inputs.dim() == 5:  # one byte per value in memory, four only in a batch
            inputs = inputs.transpose(0, 1).to(torch.get_default_dtype())
        return inputs, self.labels[at]

    def batches(
        self, cuts: Sequence[Tensor | slice], augmenter: Augmenter | None = None
    ) -> Iterator[Batch]:
        """See `Samples`; colours are changed ahead in threads."""
        if augmenter is not None and augmenter.asked.colours:
            return ahead(lambda at: self.batch(at, augmenter), cuts, _BATCHES_AHEAD)
        return (self.batch(at, augmenter) for at in cuts)

    def part(self, indices: Indices) -> Split:
        """Return the samples of these indices."""
        return Split(self.inputs[indices], self.labels[indices], self.normalizer)

    def to(self, device: torch.device) -> Split:
        """See `Samples`."""
        return Split(self.inputs.to(device), self.labels.to(device), self.normalizer)

    def normalized(self) -> Split:
        """See `Samples`."""
        if self.normalizer is None:
            return self
        return Split(self.normalizer(self.inputs), self.labels)


@dataclass(frozen=True)
class TrainingData:
    """Splits that a run may train and select on; the test split is not among them.

    Parameters
    ----------
    train, validation
        The two splits.
    classes
        Number of classes.
    """

    train: Samples
    validation: Samples
    classes: int

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Shape of one sample at one step, [C, H, W]."""
        return self.train.shape

    @property
    def device(self) -> torch.device:
        """Device of the samples."""
        return self.train.device

    def to(self, device: torch.device) -> TrainingData:
        """Return both splits on a device."""
        return TrainingData(self.train.to(device), self.validation.to(device), self.classes)

    def normalized(self) -> TrainingData:
        """Return both splits with normalised inputs if they are in memory, else unchanged."""
        return TrainingData(self.train.normalized(), self.validation.normalized(), self.classes)


def finished(
    inputs: Tensor, at: Tensor | slice, normalizer: Normalizer | None, augmenter: Augmenter | None
) -> Tensor:
    """Augment and normalise the inputs of a batch."""
    if augmenter is not None:
        inputs = augmenter.pixels(inputs, at)
    if normalizer is not None:
        inputs = normalizer(inputs)
    if augmenter is not None:
        inputs = augmenter.erase(inputs, at)
    return inputs


def batch_sizes(samples: int, size: int) -> list[int]:
    """Sizes of the batches; a last one of one sample joins its neighbour, for batch norm."""
    sizes = [size] * (samples // size) + ([samples % size] if samples % size else [])
    if len(sizes) > 1 and sizes[-1] == 1:
        sizes[-2:] = [size + 1]
    return sizes


def hash_order(name: str, indices: Indices) -> Indices:
    """Order sample indices by the SHA-256 of ``name:index``."""
    keys = [hashlib.sha256(f"{name}:{i}".encode()).digest() for i in indices]
    return indices[sorted(range(len(keys)), key=keys.__getitem__)]


def stratified(name: str, labels: NDArray[np.int64], sizes: Sequence[int]) -> list[Indices]:
    """Cut samples into stratified splits of given sizes, plus the rest.

    Parameters
    ----------
    name
        Salt of the order; the data set's name.
    labels
        [N].
    sizes
        Samples of each split; shares of the classes are rounded by largest remainder.

    Returns
    -------
    list of arrays
        Sorted sample indices: one array per size, then the rest.

    Raises
    ------
    ValueError
        If the sizes exceed the number of samples.
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
    """SHA-256 over the sample indices of all splits."""
    total = hashlib.sha256()
    for part in parts:
        total.update(np.ascontiguousarray(part, dtype="<i8").tobytes() + b"|")
    return total.hexdigest()
