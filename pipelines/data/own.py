"""Data sets of the user's own: an image folder, the arrays of a factory, or a set of tonic's.

Images and arrays are read and checked once, by `OwnSet.fetch`, which keeps them beside the other
data sets. So a fault is found before anything is trained, and every cell reads the same samples.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipelines.common.errors import BenchError, InputError
from pipelines.common.factory import call_factory
from pipelines.common.files import atomic_file, sha256
from pipelines.data.catalogue import Size
from pipelines.data.events import Binning
from pipelines.data.image_folder import content_of, find_folder, read_folder
from pipelines.data.images import statistics
from pipelines.data.normalizer import Normalizer, normalizers
from pipelines.data.sets.tonic_sets import CIFAR10_DVS, DVS_GESTURE, SHD, TonicSet, any_set
from pipelines.data.splits import Indices, Split, TrainingData, stratified
from pipelines.settings.own_data import OwnData, own_data
from pipelines.settings.workload import Normalization

#: Share of the samples that are test samples, where there is no test part; and of the rest that are
#: validation samples.
TEST_SHARE, VALIDATION_SHARE = 0.2, 0.1
_ARRAYS, _MANIFEST = "samples.npz", "manifest.json"
_PEAK = 255
Arrays = dict[str, NDArray[Any]]


def folder_name(name: str) -> str:
    """Return the name of the folder in which an own data set is kept."""
    short = re.sub(r"[^\w.]+", "-", name).strip("-.")[:60]
    return f"{short}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def content(name: str) -> str:
    """Return a digest of the files of an image folder; empty for data that code makes or fetches.

    It belongs to the code digest of a run. The digest of a folder that is not on this machine
    equals that of no run.
    """
    own = own_data(name)
    if own is None or not own.images:
        return ""
    try:
        return content_of(find_folder(own.images))
    except BenchError:
        return "missing"


@dataclass(frozen=True)
class OwnSet:
    """An own data set in memory.

    Parameters
    ----------
    own
        What params.yaml says of it.
    """

    own: OwnData

    def fetch(self, folder: Path) -> None:
        """Read and check all samples, and keep them in `folder`, unless it has them already.

        Raises
        ------
        BenchError
            If the data are missing, or are not what a data set must be.
        """
        source = self._source()
        if source and self._manifest(folder).get("source") == source:
            return
        arrays = self._read()
        _check_classes(self.own.name, arrays)
        with atomic_file(folder / _ARRAYS) as file:
            np.savez(file, allow_pickle=False, **arrays)
        manifest = {"source": source, "sha256": sha256(folder / _ARRAYS), "name": self.own.name}
        with atomic_file(folder / _MANIFEST) as file:
            file.write(json.dumps(manifest, indent=1).encode())

    def load_training(
        self, folder: Path, normalization: Normalization, binning: Binning | None
    ) -> TrainingData:
        """Read train and validation split."""
        arrays = self._arrays(folder, binning)
        train, validation, _ = self._splits(arrays, normalization)
        return TrainingData(train, validation, _classes(arrays))

    def load_test(
        self, folder: Path, normalization: Normalization, binning: Binning | None
    ) -> Split:
        """Read the test split; called only by `pipelines.training.evaluation`."""
        return self._splits(self._arrays(folder, binning), normalization)[2]

    def size(self, folder: Path) -> Size:
        """Count the samples of fetched data."""
        train, validation, test = self._splits(self._read_kept(folder), "none")
        classes = int(train.labels.max()) + 1
        return Size(train.shape, classes, len(train), len(validation), len(test))

    def _source(self) -> str:
        """Digest of what the samples come from; empty: they are read again each time."""
        return content(self.own.name)

    def _read(self) -> Arrays:
        if self.own.images:
            return read_folder(find_folder(self.own.images))
        return _of_factory(self.own)

    def _manifest(self, folder: Path) -> dict[str, str]:
        try:
            found: dict[str, str] = json.loads((folder / _MANIFEST).read_text())
            intact = sha256(folder / _ARRAYS) == found["sha256"]
        except (OSError, ValueError, KeyError):
            return {}
        return found if intact else {}

    def _read_kept(self, folder: Path) -> Arrays:
        if not self._manifest(folder):
            raise BenchError(
                f"{folder} is missing or damaged; run: dpap-bench fetch '{self.own.name}'"
            )
        with np.load(folder / _ARRAYS, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}

    def _arrays(self, folder: Path, binning: Binning | None) -> Arrays:
        arrays = self._read_kept(folder)
        shape = arrays["inputs"].shape[1:]
        if (len(shape) == 4) != (binning is not None):
            raise InputError(
                f"samples of {self.own.name} have the shape {list(shape)}; "
                + (
                    "add 'frames: {}' to the workload, because the first axis is time."
                    if binning is None
                    else "remove 'frames' from the workload, because they have no time axis."
                )
            )
        if binning is not None and binning.steps != shape[0]:
            raise InputError(
                f"samples of {self.own.name} have {shape[0]} time steps; set time_steps of the "
                "network to this number."
            )
        return arrays

    def _splits(self, arrays: Arrays, normalization: Normalization) -> tuple[Split, Split, Split]:
        """Cut train, validation and test split."""
        inputs, labels = arrays["inputs"], arrays["labels"]
        name, n = self.own.name, len(labels)
        if "test_labels" in arrays:
            validation, train = _cut(name, labels, [VALIDATION_SHARE])
            test = (arrays["test_inputs"], arrays["test_labels"])
        else:
            shares = [TEST_SHARE, VALIDATION_SHARE * (1 - TEST_SHARE)]
            at_test, validation, train = _cut(name, labels, shares)
            test = (inputs[at_test], labels[at_test])
        assert n > 0
        first, second = _normalizers(inputs[train], normalization)
        return (
            _split(inputs[train], labels[train], first),
            _split(inputs[validation], labels[validation], second),
            _split(*test, second),
        )


@dataclass(frozen=True)
class OwnRecordings:
    """A data set that tonic knows, by the name of its class.

    Parameters
    ----------
    kind
        Name of a class of ``tonic.datasets``.
    """

    kind: str

    def fetch(self, folder: Path) -> None:
        """Download the archives and unpack them into `folder`.

        Raises
        ------
        BenchError
            If tonic is not installed, or an archive cannot be had or unpacked.
        InputError
            If the class does not say where its archives are.
        """
        found = self._set()
        try:
            found.archives()
        except AttributeError as error:
            raise InputError(
                f"tonic.datasets.{self.kind} does not say where its archives are ({error}); write "
                "a factory of the data set instead."
            ) from error
        found.fetch(folder)

    def load_training(
        self, folder: Path, normalization: Normalization, binning: Binning | None
    ) -> TrainingData:
        """Read train and validation split as frames; they are never normalised."""
        assert binning is not None, "params.yaml was checked"
        return self._set().load_training(folder, binning)

    def load_test(
        self, folder: Path, normalization: Normalization, binning: Binning | None
    ) -> Split:
        """Read the test split; called only by `pipelines.training.evaluation`."""
        assert binning is not None, "params.yaml was checked"
        return self._set().load_test(folder, binning)

    def size(self, folder: Path) -> Size:
        """Count the recordings, with frames of one time step."""
        binning = Binning(1)
        data = self._set().load_training(folder, binning)
        test = self._set().load_test(folder, binning)
        sizes = (len(data.train), len(data.validation), len(test))
        return Size(data.input_shape, data.classes, *sizes)

    def _set(self) -> TonicSet:
        """The reader; of some classes more is known than they say, such as the classes of SHD."""
        known = {one.kind: one for one in (CIFAR10_DVS, DVS_GESTURE, SHD)}
        if self.kind in known:
            return replace(known[self.kind], name=f"tonic:{self.kind}", splits="")
        return any_set(self.kind)


def own_set(own: OwnData) -> OwnSet | OwnRecordings:
    """Return the loader of an own data set."""
    return OwnRecordings(own.tonic) if own.tonic else OwnSet(own)


def _cut(name: str, labels: NDArray[np.int64], shares: list[float]) -> list[Indices]:
    """Cut splits of these shares, each with at least one sample of every class."""
    classes = len(np.unique(labels))
    return stratified(name, labels, [max(classes, round(x * len(labels))) for x in shares])


def _normalizers(
    train: NDArray[Any], kind: Normalization
) -> tuple[Normalizer, Normalizer] | tuple[None, None]:
    if train.dtype != np.uint8 or train.ndim != 4:
        return None, None
    return normalizers(kind, _PEAK, *statistics(train))


def _split(inputs: NDArray[Any], labels: NDArray[np.int64], normalizer: Normalizer | None) -> Split:
    return Split(torch.from_numpy(inputs), torch.from_numpy(labels), normalizer)


def _classes(arrays: Arrays) -> int:
    return int(arrays["labels"].max()) + 1


def _check_classes(name: str, arrays: Arrays) -> None:
    """Refuse data in which a class has too few samples for the splits."""
    counts = np.bincount(arrays["labels"])
    least = 2 if "test_labels" in arrays else 3
    if len(counts) < 2 or counts.min() < least:
        few = int(counts.argmin())
        raise InputError(
            f"{name} has only {counts[few]} training samples of class {few}; a data set has two "
            f"classes or more, and at least {least} samples of each for its splits."
        )
    if "test_labels" in arrays and int(arrays["test_labels"].max()) >= len(counts):
        raise InputError(f"{name} has test samples of a class without training samples.")


def _of_factory(own: OwnData) -> Arrays:
    """Call the factory of a data set and check what it returns."""
    made = call_factory(own.factory, own.options)
    shape = (
        f"factory '{own.factory}' must return (inputs, labels), or a pair of these for training "
        "and test"
    )
    if not isinstance(made, tuple | list) or len(made) != 2:
        raise InputError(f"{shape}; it returns a value of type {type(made).__name__}.")
    if not isinstance(made[0], tuple | list):
        made = (made,)
    arrays: Arrays = {}
    for prefix, pair in zip(("", "test_"), made, strict=False):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise InputError(f"{shape}; a part of it is a {type(pair).__name__}.")
        inputs, labels = _checked(own.factory, *(_array(x, own.factory) for x in pair))
        arrays |= {f"{prefix}inputs": inputs, f"{prefix}labels": labels}
    if "test_inputs" in arrays and arrays["test_inputs"].shape[1:] != arrays["inputs"].shape[1:]:
        raise InputError(
            f"factory '{own.factory}' returns training and test samples of different shapes."
        )
    return arrays


def _checked(
    factory: str, inputs: NDArray[Any], labels: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Check one part of what a factory returns."""
    if inputs.ndim not in (4, 5):
        raise InputError(
            f"factory '{factory}' returns inputs of shape {list(inputs.shape)}; they must be "
            "[N, C, H, W], or [N, T, C, H, W] with time steps."
        )
    if labels.shape != inputs.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise InputError(
            f"factory '{factory}' returns labels of shape {list(labels.shape)} and type "
            f"{labels.dtype}; they must be {len(inputs)} whole numbers."
        )
    if not len(labels) or labels.min() < 0:
        raise InputError(
            f"factory '{factory}' returns no samples, or a negative label; labels are 0, 1, 2 and "
            "so on."
        )
    if inputs.dtype != np.uint8:
        inputs = inputs.astype(np.float32)
        if not np.isfinite(inputs).all():
            raise InputError(f"factory '{factory}' returns inputs that are not finite.")
    return inputs, labels.astype(np.int64)


def _array(given: Any, factory: str) -> NDArray[Any]:
    if isinstance(given, Tensor):
        given = given.detach().cpu().numpy()
    if not isinstance(given, np.ndarray):
        raise InputError(
            f"factory '{factory}' returns a {type(given).__name__} where an array or a tensor is "
            "needed."
        )
    return given
