"""DVS-Gesture as its authors cut it: small trials in their own format."""

from __future__ import annotations

import hashlib
import struct
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.common.errors import BenchError
from pipelines.data import SOURCES, fetch, load_test, load_training
from pipelines.data.download import DATA_VARIABLE, Archive
from pipelines.data.events import Binning
from pipelines.data.sets import dvs_gesture
from pipelines.data.sets.aedat3 import read_aedat3
from pipelines.settings.spec import RunSpec
from pipelines.settings.workload import Workload

BINNING = Binning(1, "time", "counts")
HOME = "dvs-gesture-288"
HEADER = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#!END-HEADER\r\n"
#: Classes in the order of a table; the eighth is there twice, as in the real ones.
CLASSES = (1, 2, 3, 4, 5, 6, 7, 8, 8, 9, 10, 11)


def packet(*events: tuple[int, int, int, int], kind: int = 1, overflow: int = 0) -> bytes:
    """A packet of events (t, x, y, p), with room for one more."""
    body = b"".join(struct.pack("<II", x << 17 | y << 2 | p << 1 | 1, t) for t, x, y, p in events)
    number = len(events)
    head = struct.pack("<HHIIIIII", kind, 0, 8, 4, overflow, number + 1, number, number)
    return head + body + bytes(8)


def write_trials(top: Path, train: int = 3, test: int = 2) -> None:
    """Trials whose gesture g of trial i is one event in row g, column i."""
    top.mkdir(parents=True)
    names = {"train": [f"user{i:02d}_led" for i in range(1, train + 1)]}
    names["test"] = [f"user{i:02d}_lab" for i in range(24, 24 + test)]
    for part, trials in names.items():
        listed = "".join(f"{name}.aedat\n" for name in trials) + "\n"
        (top / f"trials_to_{part}.txt").write_text(listed)
        for i, name in enumerate(trials):
            events = [(100 * g + 50, i, g, g % 2) for g in range(len(CLASSES))]
            late = [(100 * g + 100, 99, 99, 1) for g in range(len(CLASSES))]  # at the end: outside
            raw = HEADER + packet(*events) + packet(*late) + packet((1, 1, 1, 1), kind=2)
            (top / f"{name}.aedat").write_bytes(raw)
            rows = [f"{c},{100 * g + 10},{100 * g + 100}" for g, c in enumerate(CLASSES)]
            table = "class,startTime_usec,endTime_usec\n" + "\n".join(rows) + "\n"
            (top / f"{name}_labels.csv").write_text(table)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three training and two test trials, unpacked."""
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    for name, kept in (("OFFICIAL", 0), ("REDUCED", 22)):
        made = replace(getattr(dvs_gesture, name), training=36, test=24, validation=12, kept=kept)
        monkeypatch.setattr(dvs_gesture, name, made)
    write_trials(tmp_path / HOME / "trials" / "DvsGesture")
    return tmp_path


def test_the_format_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "a.aedat"
    path.write_bytes(
        HEADER + packet((7, 127, 3, 1), (5, 0, 126, 0)) + packet((2, 1, 2, 1), overflow=1)
    )
    events = read_aedat3(path)
    assert [tuple(event) for event in events.tolist()] == [
        (5, 0, 126, False),
        (7, 127, 3, True),
        (2**31 + 2, 1, 2, True),
    ]
    path.write_bytes(HEADER)
    assert len(read_aedat3(path)) == 0


@pytest.mark.parametrize("cut", [1, 9, 17, 40])
def test_a_truncated_recording(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "a.aedat"
    path.write_bytes((HEADER + packet((7, 1, 3, 1), (8, 0, 1, 0)))[:-cut])
    with pytest.raises(BenchError, match=r"a\.aedat is truncated"):
        read_aedat3(path)


def test_other_formats(tmp_path: Path) -> None:
    path = tmp_path / "a.aedat"
    for content in (b"", b"#!AER-DAT2.0\r\n", b"#!AER-DAT3.1\r\n#no end", b"junk"):
        path.write_bytes(content)
        with pytest.raises(BenchError, match="no recording in the format AEDAT 3"):
            read_aedat3(path)
    with pytest.raises(BenchError, match="cannot be read"):
        read_aedat3(tmp_path / "b.aedat")


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
        labels = [CLASSES[gesture] - 1 for _, gesture in places(split.inputs)]
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
    labels = np.tile(np.array(CLASSES) - 1, 24)
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
    with pytest.raises(BenchError, match=r"DvsGesture\.tar\.gz cannot be downloaded .* put it at"):
        fetch("dvs-gesture-280", root)
    write_trials(tmp_path / "DvsGesture")
    (tmp_path / "by-hand").mkdir()
    archive = tmp_path / "by-hand" / "DvsGesture.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "DvsGesture", "DvsGesture")
    monkeypatch.setenv(DATA_VARIABLE, str(archive.parent))
    monkeypatch.setattr(Archive, "matches", lambda self, path: path == archive)
    fetch("dvs-gesture-280", root)
    fetch(HOME, root)  # which finds it unpacked
    assert (root / HOME / "trials" / "DvsGesture" / "trials_to_test.txt").is_file()
    assert bytes.fromhex(dvs_gesture.ARCHIVE.md5)
