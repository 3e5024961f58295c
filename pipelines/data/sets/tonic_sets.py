"""Data sets whose files are read by tonic (https://tonic.readthedocs.io), an optional package.

tonic's classes also know addresses and checksums. `pipelines.data.download` fetches and verifies
the archives, so that tonic itself never uses the network.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.common.archives import unpack_together
from pipelines.common.errors import BenchError, InputError
from pipelines.data.download import RemoteFile
from pipelines.data.events import EVENT, Binning, Events, in_order
from pipelines.data.splits import Indices, Split, TrainingData, digest, stratified

TRAIN, TEST, ALL = "train", "test", "all"
_MOST_BYTES = 32 << 30


@dataclass(frozen=True)
class TonicSet:
    """A data set that tonic reads, as an `EventLoader`.

    Parameters
    ----------
    name
        Name of the data set, and salt of its splits.
    kind
        Name of the class in `tonic.datasets`.
    SENSOR
        Height and width in pixels.
    classes
        Number of classes.
    counts
        Recordings of the official parts ``train`` and ``test``; of ``all`` if there are no parts.
    validation
        Recordings of the validation split, from the training part.
    test
        Recordings of the test split, where there is no official one.
    polarities
        1 where events have no polarity, so that frames have one channel instead of two.
    needs
        Packages that tonic imports only when it reads a file.
    splits
        SHA-256 of the split indices, where labels are known without the data.
    """

    name: str
    kind: str
    SENSOR: tuple[int, int]
    classes: int
    counts: dict[str, int]
    validation: int
    test: int = 0
    polarities: int = 2
    needs: tuple[str, ...] = ()
    splits: str = ""

    def fetch(self, folder: Path) -> None:
        """Get the archives and unpack them into `folder`/KIND, where tonic looks for them.

        Raises
        ------
        BenchError
            If tonic is not installed, or an archive cannot be had or unpacked.
        """
        archives = self.archives()
        if (folder / self.kind).is_dir():
            return
        paths = [archive.find(folder) or archive.fetch(folder) for archive in archives]
        unpack_together(paths, folder / self.kind, most_bytes=_MOST_BYTES)

    def archives(self) -> list[RemoteFile]:
        """Archives with the addresses and checksums that tonic knows."""
        kind = self.found()
        if ALL in self.counts:
            return [RemoteFile(kind.filename, f"md5:{kind.file_md5}", (kind.url,))]
        found = []
        for part in self.counts:
            name = getattr(kind, f"{part}_filename", None) or getattr(kind, f"{part}_zip")
            url = getattr(kind, f"{part}_url", None) or kind.base_url + name
            md5 = getattr(kind, f"{part}_md5")
            found.append(RemoteFile(name, f"md5:{md5}", (url,)))
        return found

    def load_training(self, folder: Path, binning: Binning) -> TrainingData:
        """Read train and validation split; neither has a recording of the test split."""
        part = self._part(folder, TRAIN)
        *_, validation, train = self._cut(part.labels)
        return TrainingData(
            part.split(train, binning), part.split(validation, binning), self.classes
        )

    def load_test(self, folder: Path, binning: Binning) -> Split:
        """Read the test split; called only by `pipelines.training.evaluation`."""
        part = self._part(folder, TEST)
        own = self._test(part.labels)
        chosen = self._cut(part.labels)[0] if own else np.arange(len(part.labels))
        return part.split(chosen, binning)

    def recording(self, folder: Path, number: int) -> tuple[int, Events]:
        """Read label and events of one recording of the train and validation split.

        Recordings are numbered in the order of their files' paths.

        Raises
        ------
        BenchError
            If there is no recording of this number, or it is damaged.
        """
        part = self._part(folder, TRAIN)
        *_, validation, train = self._cut(part.labels)
        visible = np.sort(np.concatenate((validation, train)))
        if number >= len(visible):
            raise BenchError(f"{self.name} has no recording {number}; it has {len(visible)}")
        at = int(visible[number])
        return int(part.labels[at]), part.events(at)

    def _validation(self, labels: NDArray[np.int64]) -> int:
        """Number of recordings of the validation split."""
        return self.validation

    def _test(self, labels: NDArray[np.int64]) -> int:
        """Number of recordings of the test split, if there is no official one."""
        return self.test

    def _cut(self, labels: NDArray[np.int64]) -> list[Indices]:
        """Recordings of the test split if there is no official one, of validation and of train."""
        size = self._validation(labels)
        test = self._test(labels)
        sizes = (test, size) if test else (size,)
        parts = stratified(self.name, labels, sizes)
        if self.splits and digest(parts) != self.splits:
            raise BenchError(
                f"the splits of {self.name} are not the published ones: its files differ or are "
                "named differently"
            )
        return parts

    def _part(self, folder: Path, part: str) -> _Part:
        """Open an official part, or all recordings if there are no parts."""
        kind = self.found()
        if not (folder / self.kind).is_dir():
            raise BenchError(f"{folder / self.kind} is missing; run: dpap-bench fetch {self.name}")
        # A class that takes the files as they are instead of downloading them again.
        local = type(self.kind, (kind,), {"_check_exists": lambda _: True})
        advice = f"delete {folder / self.kind}, then run: dpap-bench fetch {self.name}"
        arguments = {} if ALL in self.counts else {"train": part == TRAIN}
        with _reading(f"{folder / self.kind} is damaged", advice):
            found = _Part(self, local(str(folder), **arguments), advice)
            labels = found.labels
        wanted = self.counts.get(part) or self.counts.get(ALL) or len(labels)
        if len(labels) != wanted or not set(labels.tolist()) <= set(range(self.classes)):
            raise BenchError(
                f"{folder / self.kind} has {len(labels)} recordings of {len(set(labels.tolist()))} "
                f"classes instead of {wanted} of {self.classes}; {advice}"
            )
        return found

    def found(self) -> Any:
        """Return the class in `tonic.datasets`.

        Raises
        ------
        InputError
            If there is no such class.
        """
        module = self._imported()
        if not hasattr(module, self.kind):
            raise InputError(f"tonic.datasets has no class '{self.kind}'; correct its name.")
        return getattr(module, self.kind)

    def _imported(self) -> Any:
        """The module `tonic.datasets`."""
        try:
            for module in self.needs:
                importlib.import_module(module)
            return importlib.import_module("tonic.datasets")
        except ImportError as error:
            raise BenchError(
                f"{self.name} needs a package that is missing ({error}); install it with: "
                "pip install -c constraints.txt -e '.[events]'"
            ) from error


@contextmanager
def _reading(what: str, advice: str) -> Iterator[None]:
    """Turn any error of a reader into one sentence."""
    try:
        yield
    except (BenchError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic in aedat's Rust code is not an `Exception`
        raise BenchError(f"{what} ({error or type(error).__name__}); {advice}") from error


class _Part:
    """Recordings of one official part, in the order of their files' paths.

    tonic's own order is that of the file system, which differs between machines.
    """

    def __init__(self, source: TonicSet, dataset: Any, advice: str) -> None:
        self.source, self.dataset, self.advice = source, dataset, advice
        number = len(dataset)
        self.order = list(range(number))
        if dataset.targets:
            self.order.sort(key=lambda i: Path(dataset.data[i]).parts)
            labels = [dataset.targets[i] for i in self.order]
        else:  # one HDF5 file; tonic reads its labels only together with the events
            h5py = importlib.import_module("h5py")
            with h5py.File(Path(dataset.location_on_system, dataset.data_filename), "r") as file:
                labels = file["labels"][:]
        self.labels = np.array(labels, np.int64)

    def events(self, number: int) -> Events:
        """Events of one recording."""
        at = self.order[number]
        name = self.dataset.data[at] if self.dataset.targets else f"recording {at}"
        with _reading(f"{name} is damaged", self.advice):
            return _events(self.dataset[at][0])

    def split(self, chosen: Indices, binning: Binning) -> Split:
        """Read some recordings as frames [N, T, channels, rows, columns], with labels."""
        steps, _, rows, columns = binning.shape(*self.source.SENSOR)
        channels = self.source.polarities
        frames = np.empty((len(chosen), steps, channels, rows, columns), np.uint8)
        for frame, number in zip(frames, chosen, strict=True):
            events = self.events(int(number))
            frame[:] = binning.frames(events, *self.source.SENSOR)[:, -channels:]
        return Split(torch.from_numpy(frames), torch.from_numpy(self.labels[chosen]))


def _events(raw: Any) -> Events:
    """Convert a structured array of tonic's; a missing field is 0.

    Raises
    ------
    ValueError
        If a coordinate is negative, or larger than any sensor.
    """
    events: Events = np.zeros(len(raw), EVENT)
    for field in raw.dtype.names:
        if (
            field in ("x", "y")
            and len(raw)
            and not 0 <= raw[field].min() <= raw[field].max() < 2**15
        ):
            raise ValueError(f"{field} of an event is out of range")
        events[field] = raw[field]
    return in_order(events)


@dataclass(frozen=True)
class AnySet(TonicSet):
    """A data set of which only tonic knows the size; a tenth of its recordings is for validation.

    Without an official test part, a fifth of the recordings is for the test.
    """

    def _validation(self, labels: NDArray[np.int64]) -> int:
        return max(1, len(labels) // 10)

    def _test(self, labels: NDArray[np.int64]) -> int:
        return len(labels) // 5 if ALL in self.counts else 0


def any_set(kind: str) -> AnySet:
    """Return a data set by the name of its class in ``tonic.datasets``.

    Raises
    ------
    BenchError
        If tonic is not installed.
    InputError
        If tonic has no such class, or it does not say what a classification set must say.
    """
    found = TonicSet(kind, kind, (1, 1), 0, {ALL: 0}, validation=0).found()
    sensor, classes = getattr(found, "sensor_size", None), getattr(found, "classes", None)
    if not isinstance(sensor, tuple) or len(sensor) != 3 or classes is None:
        raise InputError(
            f"tonic.datasets.{kind} does not say sensor_size and classes; write a factory of the "
            "data set instead."
        )
    parts = {TRAIN: 0, TEST: 0} if "train" in signature(found).parameters else {ALL: 0}
    width, height, polarities = sensor
    name = f"tonic:{kind}"
    return AnySet(name, kind, (height, width), len(classes), parts, 0, polarities=polarities)


#: tonic's archives: one recording for each class and trial; users are split as by the authors.
DVS_GESTURE = TonicSet(
    "dvs-gesture", "DVSGesture", (128, 128), 11, {TRAIN: 1077, TEST: 264}, validation=110
)
CIFAR10_DVS = TonicSet(
    "cifar10-dvs",
    "CIFAR10DVS",
    (128, 128),
    10,
    {ALL: 10_000},
    validation=900,
    test=1000,
    needs=("aedat",),
    splits="75af90e4f7605cc5c03387b9b42b9331b16de323793b658ade344d1f1ef9d18a",
)
SHD = TonicSet("shd", "SHD", (1, 700), 20, {TRAIN: 8156, TEST: 2264}, validation=816, polarities=1)
