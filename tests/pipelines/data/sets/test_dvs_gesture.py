"""DVS-Gesture as its authors split it: small trials in their own format."""

from __future__ import annotations

import hashlib
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.common.errors import BenchError
from pipelines.data import SOURCES, fetch, load_test, load_training
from pipelines.data.download import DATA_VARIABLE
from pipelines.data.events import Binning
from pipelines.data.sets import dvs_gesture
from pipelines.settings.spec import RunSpec
from pipelines.settings.workload import Workload
from tests.helpers.event_files import GESTURES, write_trials

BINNING = Binning(1, "time", "counts")
HOME = "dvs-gesture-288"


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three training and two test trials, unpacked."""
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    for name, kept in (("OFFICIAL", 0), ("REDUCED", 22)):
        made = replace(getattr(dvs_gesture, name), training=36, test=24, validation=12, kept=kept)
        monkeypatch.setattr(dvs_gesture, name, made)
    write_trials(tmp_path / HOME / "trials" / "DvsGesture")
    return tmp_path


def places(inputs: torch.Tensor) -> list[tuple[int, int]]:
    """Trial and gesture of each recording, which must be one event."""
    found = []
    for frames in inputs:
        ((_, polarity, row, column),) = frames.nonzero().tolist()
        assert polarity == row % 2
        found.append((column, row))
    return found


def test_twelve_recordings_of_each_trial(small: Path) -> None:
    fetch(HOME, small)  # which finds all there
    data, test = load_training(HOME, small, BINNING), load_test(HOME, small, BINNING)
    assert data.input_shape == (2, 128, 128)
    assert (len(data.train), len(data.validation), len(test)) == (24, 12, 24)
    seen = places(data.train.inputs) + places(data.validation.inputs)
    assert sorted(seen) == [(trial, gesture) for trial in range(3) for gesture in range(12)]
    for split in (data.train, data.validation, test):
        labels = [GESTURES[gesture] - 1 for _, gesture in places(split.inputs)]
        assert split.labels.tolist() == labels
    assert data.validation.labels.bincount().tolist() == [1] * 7 + [2] + [1] * 3
    label, events = dvs_gesture.OFFICIAL.recording(small / HOME, 13)
    assert (label, events["x"].tolist(), events["y"].tolist()) == (1, [1], [1])
    with pytest.raises(BenchError, match="no recording 36; it has 36"):
        dvs_gesture.OFFICIAL.recording(small / HOME, 36)


def test_the_reduced_test_split_is_a_part_of_the_official_one(small: Path) -> None:
    fetch("dvs-gesture-280", small)  # shares the folder
    official, reduced = (load_test(name, small, BINNING) for name in (HOME, "dvs-gesture-280"))
    assert len(reduced) == 22
    assert set(places(reduced.inputs)) < set(places(official.inputs))
    one, other = (load_training(name, small, BINNING) for name in (HOME, "dvs-gesture-280"))
    assert torch.equal(one.train.inputs, other.train.inputs)
    assert torch.equal(one.validation.inputs, other.validation.inputs)


def test_which_280_is_fixed() -> None:
    """By class and number alone; here for trials that are all complete."""
    labels = np.tile(np.array(GESTURES) - 1, 24)
    chosen = dvs_gesture.REDUCED.chosen(labels)
    assert len(chosen) == 280
    left_out = sorted(set(range(288)) - set(chosen.tolist()))
    assert len(set(labels[left_out])) >= 7, "every class gives about the same share"
    digest = hashlib.sha256(chosen.astype("<i8").tobytes()).hexdigest()
    assert digest.startswith("5f3cba8b71196a39")


def test_the_cut_is_named_in_the_settings_of_a_record(tiny: dict[str, Workload]) -> None:
    ids = set()
    for name in ("dvs-gesture", HOME, "dvs-gesture-280"):
        fields = tiny["digits-snn"].model_dump(exclude_defaults=True)
        settings = Workload.model_validate(fields | {"data": name, "frames": {}})
        spec = RunSpec(
            workload="g", settings=settings, method="dense", granularity="none", density=1, seed=0
        )
        assert f'"data":"{name}"' in spec.canonical()
        ids.add(spec.run_id)
        assert SOURCES[name].events
    assert len(ids) == 3


def test_damage(small: Path) -> None:
    top = small / HOME / "trials" / "DvsGesture"
    table = top / "user02_led_labels.csv"
    whole = table.read_text()
    again = f"run: dpap-bench fetch {HOME}"
    for damage, sentence in (
        ("\n".join(whole.splitlines()[:-1]), "35 recordings of 11 classes instead of 36"),
        (whole + "12,0,1\n", "37 recordings of 12 classes instead of 36"),
        ("class\nno,number,here\n", "the trials in .* are missing or damaged"),
    ):
        table.write_text(damage)
        with pytest.raises(BenchError, match=f"{sentence}.*{again}"):
            load_training(HOME, small, BINNING)
    table.unlink()
    with pytest.raises(BenchError, match=f"the trials in .* are missing or damaged.*{again}"):
        load_training(HOME, small, BINNING)


def test_the_archive_is_put_there_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    root = tmp_path / "data"
    with pytest.raises(BenchError, match=r"cannot get DvsGesture\.tar\.gz: download it from .*put"):
        fetch("dvs-gesture-280", root)
    write_trials(tmp_path / "DvsGesture")
    (tmp_path / "by-hand").mkdir()
    archive = tmp_path / "by-hand" / "DvsGesture.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "DvsGesture", "DvsGesture")
    monkeypatch.setenv(DATA_VARIABLE, str(archive.parent))
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    monkeypatch.setattr(dvs_gesture, "ARCHIVE", replace(dvs_gesture.ARCHIVE, checksum=f"md5:{md5}"))
    fetch("dvs-gesture-280", root)
    fetch(HOME, root)  # which finds it unpacked
    assert (root / HOME / "trials" / "DvsGesture" / "trials_to_test.txt").is_file()
