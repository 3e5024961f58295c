"""N-MNIST from small archives."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from pipelines.common.errors import BenchError
from pipelines.data import fetch, load_test, load_training
from pipelines.data.download import DATA_VARIABLE, RemoteFile
from pipelines.data.events import Binning
from pipelines.data.sets import n_mnist
from tests.helpers.event_files import write_n_mnist

BINNING = Binning(2, "time", "counts")


@pytest.fixture
def digits_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """N-MNIST of 30 and 20 recordings; the folder of data."""
    own = tmp_path / "own" / "n-mnist"
    own.mkdir(parents=True)
    counts = {}
    for part, number in (("TRAIN", 30), ("TEST", 20)):
        name = getattr(n_mnist, part).name
        write_n_mnist(own / name, number)
        md5 = hashlib.md5((own / name).read_bytes()).hexdigest()
        monkeypatch.setattr(n_mnist, part, RemoteFile(name, f"md5:{md5}"))
        counts[name] = number
    monkeypatch.setattr(n_mnist, "COUNTS", counts)
    monkeypatch.setattr(n_mnist, "VALIDATION", 10)
    monkeypatch.setenv(DATA_VARIABLE, str(own.parent))
    fetch("n-mnist", tmp_path / "data")
    return tmp_path / "data"


def test_n_mnist(digits_seen: Path) -> None:
    data = load_training("n-mnist", digits_seen, BINNING)
    test = load_test("n-mnist", digits_seen, BINNING)
    assert (len(data.train), len(data.validation), len(test)) == (20, 10, 20)
    assert data.validation.labels.bincount().tolist() == [1] * 10
    assert test.inputs.shape == (20, 2, 2, 34, 34)
    assert test.labels.tolist() == [i % 10 for i in range(20)]
    for i, frames in enumerate(test.inputs):
        assert frames.nonzero().tolist() == [[0, 1, 2, i], [1, 0, i, 3]]
    label, events = n_mnist.recording(digits_seen / "n-mnist", 12)
    assert (label, events["x"].tolist()) == (2, [12, 3])


def test_damaged_n_mnist(digits_seen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = digits_seen / "n-mnist" / "Train.zip"
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    with pytest.raises(BenchError, match=r"cannot read .*Train\.zip as a"):
        load_training("n-mnist", digits_seen, BINNING)
    flipped = bytearray(whole)
    flipped[whole.index(b"00030.bin") + 12] ^= 255
    path.write_bytes(flipped)
    with pytest.raises(BenchError, match=r"cannot read .*Train\.zip .*/00030\.bin"):
        load_training("n-mnist", digits_seen, BINNING)
    write_n_mnist(path, 29)
    with pytest.raises(BenchError, match="29 recordings instead of 30"):
        load_training("n-mnist", digits_seen, BINNING)
    path.unlink()
    with pytest.raises(BenchError, match="missing; run: dpap-bench fetch n-mnist"):
        load_training("n-mnist", digits_seen, BINNING)
