"""A data set of tonic by the name of its class, with a stand-in for tonic."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from pipelines.common.errors import BenchError, InputError
from pipelines.data import load_test, load_training
from pipelines.data.events import Binning
from pipelines.data.own import OwnRecordings, folder_name
from pipelines.data.sets.tonic_sets import any_set

EVENT = np.dtype([("x", int), ("y", int), ("t", int), ("p", int)])


class Blinks:
    """Recording i of class i % 2: one event at column i % 4."""

    sensor_size = (4, 3, 2)
    classes = ("left", "right")

    def __init__(self, save_to: str, train: bool = True) -> None:
        number = 20 if train else 6
        self.data = [f"{save_to}/{i:02d}.bin" for i in range(number)]
        self.targets = [i % 2 for i in range(number)]

    def _check_exists(self) -> bool:
        return False

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, i: int) -> tuple[Any, int]:
        return np.array([(i % 4, 1, 5, 1)], EVENT), self.targets[i]


class SHD(Blinks):
    """Says its classes only after its file was read, as tonic's class does."""

    classes = None  # type: ignore[assignment]
    sensor_size = (700, 1, 1)
    base_url, train_zip, test_zip = "https://example.org/", "shd_train.h5.zip", "shd_test.h5.zip"
    train_md5 = test_md5 = "0" * 32


class Nameless:
    sensor_size = (4, 3, 2)


@pytest.fixture
def tonic(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("tonic.datasets")
    for kind in (Blinks, SHD, Nameless):
        setattr(module, kind.__name__, kind)
    monkeypatch.setitem(sys.modules, "tonic", ModuleType("tonic"))
    monkeypatch.setitem(sys.modules, "tonic.datasets", module)


def test_parts_sensor_and_classes_are_those_of_the_class(tonic: None, tmp_path: Path) -> None:
    name = "tonic:Blinks"
    (tmp_path / folder_name(name) / "Blinks").mkdir(parents=True)
    data = load_training(name, tmp_path, Binning(3))
    test = load_test(name, tmp_path, Binning(3))
    assert (len(data.train), len(data.validation), len(test)) == (18, 2, 6)
    assert data.classes == 2
    inputs, labels = test.batch(slice(6))
    assert inputs.shape == (3, 6, 2, 3, 4)
    assert labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert [inputs[0, i, 1, 1].argmax().item() for i in range(6)] == [0, 1, 2, 3, 0, 1]


def test_a_class_that_cannot_be_used_is_refused(tonic: None) -> None:
    with pytest.raises(InputError, match=r"tonic.datasets has no class 'Winks'; correct its name"):
        any_set("Winks")
    with pytest.raises(InputError, match="does not say sensor_size and classes; write a factory"):
        any_set("Nameless")


def test_a_class_without_addresses_is_refused(tonic: None, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Blinks does not say where its archives are \(.*train_"):
        OwnRecordings("Blinks").fetch(tmp_path)


def test_shd_has_the_classes_that_its_class_does_not_say(tonic: None, tmp_path: Path) -> None:
    (tmp_path / "SHD").mkdir()
    with pytest.raises(BenchError, match=r"20 recordings of 2 classes instead of 8156 of 20"):
        OwnRecordings("SHD").load_training(tmp_path, "none", Binning(2))


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "tonic", None)
    monkeypatch.setitem(sys.modules, "tonic.datasets", None)
    with pytest.raises(BenchError, match=r"needs a package that is missing .*'\.\[events\]'$"):
        OwnRecordings("NMNIST").fetch(tmp_path)
