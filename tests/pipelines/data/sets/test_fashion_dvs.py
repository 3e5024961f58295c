"""Fashion-MNIST as simulated events: archives, splits, damage, pictures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipelines.cli import publishing
from pipelines.common.errors import BenchError, InputError
from pipelines.data import load_test, load_training
from pipelines.data.events import Binning
from pipelines.data.images import Images
from pipelines.data.sets import atis, fashion_dvs, fashion_mnist
from pipelines.data.sets.idx import IdxFiles


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """`fashion-dvs` made of 40 and 20 small images; the folder of fetched data."""
    draw = np.random.default_rng(0)
    parts = {
        part: Images(draw.integers(0, 256, (n, 1, 6, 6), dtype=np.uint8), np.arange(n) % 10)
        for part, n in (("training", 40), ("test", 20))
    }
    still = replace(fashion_mnist.FASHION_MNIST, validation=10)
    monkeypatch.setattr(IdxFiles, "fetch", lambda self, folder: None)
    monkeypatch.setattr(IdxFiles, "read", lambda self, folder, part: parts[part])
    monkeypatch.setattr(fashion_mnist, "FASHION_MNIST", still)
    elsewhere = tmp_path / "elsewhere" / fashion_dvs.NAME
    monkeypatch.setattr(fashion_dvs, "CONTENT", {fashion_dvs.TRAIN: "other", fashion_dvs.TEST: ""})
    with pytest.raises(BenchError, match="differs from the published recordings"):
        fashion_dvs.fetch(elsewhere)
    made = {name: atis.digest(elsewhere / name) for name in fashion_dvs.CONTENT}
    monkeypatch.setattr(fashion_dvs, "CONTENT", made)
    fashion_dvs.fetch(tmp_path / "data" / fashion_dvs.NAME)
    return tmp_path / "data"


BINNING = Binning(3)


def test_fashion_dvs(small: Path) -> None:
    data = load_training("fashion-dvs", small, BINNING)
    test = load_test("fashion-dvs", small, BINNING)
    assert (len(data.train), len(data.validation), len(test)) == (30, 10, 20)
    assert data.input_shape == (2, 34, 34)
    assert data.train.inputs.shape == (30, 3, 2, 34, 34)
    assert data.validation.labels.bincount().tolist() == [1] * 10
    inputs, labels = data.train.batch(torch.tensor([4, 2]))
    assert inputs.shape == (3, 2, 2, 34, 34)
    assert inputs.dtype == torch.float32
    assert (inputs[1, 0] == data.train.inputs[4, 1]).all()
    assert labels.tolist() == data.train.labels[[4, 2]].tolist()
    sheet = json.loads((small / "fashion-dvs" / fashion_dvs.DATASHEET).read_text())
    label, events = fashion_dvs.recording(small / "fashion-dvs", 0)
    assert label == 0
    assert 0 < len(events) <= sheet["Train.zip"]["events_minimum_5_50_95_maximum"][-1]
    assert 0.45 < sheet["Test.zip"]["brighter_share"] < 0.55


def test_the_same_images_give_the_same_archive(small: Path, tmp_path: Path) -> None:
    for name in fashion_dvs.CONTENT:
        first, second = small, tmp_path / "elsewhere"
        assert (first / "fashion-dvs" / name).read_bytes() == (
            second / "fashion-dvs" / name
        ).read_bytes()


def test_a_complete_data_set_is_left_alone(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atis, "write", lambda *_: pytest.fail("it was written again"))
    fashion_dvs.fetch(small / "fashion-dvs")


def test_damaged_archives(small: Path) -> None:
    path = small / "fashion-dvs" / fashion_dvs.TRAIN
    whole = path.read_bytes()
    for damage in (whole[:-30], b"", b"junk"):
        path.write_bytes(damage)
        with pytest.raises(BenchError, match="damaged; run: dpap-bench fetch fashion-dvs"):
            load_training("fashion-dvs", small, BINNING)
    flipped = bytearray(whole)
    flipped[60] ^= 1  # inside the first recording; the directory is as it was
    path.write_bytes(flipped)
    with pytest.raises(BenchError, match=r"cannot read .*Train\.zip .*\.bin.*get it again"):
        load_training("fashion-dvs", small, BINNING)


def test_a_workload_must_say_how_events_become_frames(small: Path) -> None:
    with pytest.raises(InputError, match=r"'frames: \{by: time\}'"):
        load_training("fashion-dvs", small)


def test_show(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pipelines.boards.project.find_root", lambda _: small.parent)
    to = small / "a.png"
    publishing.show("fashion-dvs", 3, 4, to)
    number = len(fashion_dvs.recording(small / "fashion-dvs", 3)[1])
    assert f"a.png: {number} events" in capsys.readouterr().out
    with Image.open(to) as png:
        assert png.size == (4 * (34 * 5 + 2) + 2, 34 * 5 + 4)
    publishing.show("digits", 7, 1, to)
    with Image.open(to) as png:
        assert png.size == (44, 44)
        assert len(set(png.get_flattened_data())) > 3
    with pytest.raises(InputError, match="1167 training samples; the last is 1166"):
        publishing.show("digits", 1167, 1, to)
    with pytest.raises(BenchError, match="no recording 40; it has 40"):
        publishing.show("fashion-dvs", 40, 1, to)
