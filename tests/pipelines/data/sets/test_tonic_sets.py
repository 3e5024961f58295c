"""Real event data: native formats read by the suite's own code, fetching, clear sentences."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import struct
import sys
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipelines.boards.params import Params
from pipelines.cli.main import main
from pipelines.common.errors import BenchError
from pipelines.data import SOURCES, fetch, load_test, load_training
from pipelines.data.download import DATA_VARIABLE, Archive
from pipelines.data.events import EVENT, Binning, Events, binning_of, decode, encode
from pipelines.data.sets import n_mnist, tonic_sets
from pipelines.data.sets.tonic_sets import ALL, TEST, TRAIN, TonicSet
from pipelines.data.splits import digest, stratified
from pipelines.networks.network import Network
from pipelines.settings.network import NetworkSpec
from pipelines.settings.workload import Frames, Workload

BINNING = Binning(2, "time", "counts")


def events_of(*rows: tuple[int, int, int, int]) -> Events:
    """Events (t, x, y, p)."""
    return np.array(list(rows), EVENT)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.delenv(DATA_VARIABLE, raising=False)


def test_overflows_of_a_sensor() -> None:
    rows = ((8000, 1, 2, 1), (8190, 0, 240, 0), (5, 3, 4, 0), (9, 0, 240, 0), (7, 5, 6, 1))
    raw = encode(np.concatenate([events_of(row) for row in sorted(rows)]))
    pieces = [encode(events_of(row)) for row in rows]
    read = decode(b"".join(pieces), "a.bin", sensor=True)
    assert [tuple(e) for e in read.tolist()] == [
        (8000, 1, 2, True),
        (5 + 8192, 3, 4, False),
        (7 + 2 * 8192, 5, 6, True),
    ]
    assert 240 in decode(raw, "a.bin")["y"], "without a sensor it is a row like others"
    with pytest.raises(BenchError, match="truncated"):
        decode(pieces[0][:-1], "a.bin", sensor=True)


def test_pixels_binned_together() -> None:
    events = events_of((0, 0, 0, 1), (0, 1, 1, 1), (0, 4, 2, 0), (9, 4, 2, 0), (9, 5, 0, 1))
    small = Binning(2, "time", "counts", 2).frames(events, 3, 5)  # one event is outside
    assert small.shape == Binning(2, scale=2).shape(3, 5) == (2, 2, 2, 3)
    assert small[0].tolist() == [[[0, 0, 0], [0, 0, 1]], [[2, 0, 0], [0, 0, 0]]]
    assert small[1].tolist() == [[[0, 0, 0], [0, 0, 1]], [[0, 0, 0], [0, 0, 0]]]
    assert Binning(2, "time", "binary", 2).frames(events, 3, 5).max() == 1


def test_a_scale_of_one_changes_no_name_of_a_run(params: Params) -> None:
    workload = params.workloads["fashion-dvs"]
    assert "scale" not in workload.model_dump_json(exclude_defaults=True)
    halved = Workload.model_validate(
        workload.model_dump() | {"frames": Frames(scale=2).model_dump()}
    )
    assert binning_of(halved) == Binning(workload.network.time_steps, scale=2)


def write_n_mnist(path: Path, number: int) -> None:
    """An archive as N-MNIST's: folders, files counted from 1, an overflow in each."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{path.stem}/", "")
        archive.writestr(f"__MACOSX/{path.stem}/0/._00001.bin", "as Macs do")
        for i in reversed(range(number)):
            rows = ((8000, i, 2, 1), (8191, 0, 240, 0), (1000, 3, i, 0))
            raw = b"".join(encode(events_of(row)) for row in rows)
            archive.writestr(f"{path.stem}/{i % 10}/{i + 1:05d}.bin", raw)


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
        monkeypatch.setattr(n_mnist, part, Archive(name, "https://example.org", md5))
        counts[getattr(n_mnist, part)] = number
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
    with pytest.raises(BenchError, match="missing or damaged"):
        load_training("n-mnist", digits_seen, BINNING)
    flipped = bytearray(whole)
    flipped[whole.index(b"00030.bin") + 12] ^= 255
    path.write_bytes(flipped)
    with pytest.raises(BenchError, match=r"bin in .*Train\.zip is damaged"):
        load_training("n-mnist", digits_seen, BINNING)
    write_n_mnist(path, 29)
    with pytest.raises(BenchError, match="29 recordings instead of 30"):
        load_training("n-mnist", digits_seen, BINNING)
    path.unlink()
    with pytest.raises(BenchError, match="missing; run: dpap-bench fetch n-mnist"):
        load_training("n-mnist", digits_seen, BINNING)


def test_without_tonic(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tonic", None)
    monkeypatch.setitem(sys.modules, "tonic.datasets", None)
    for name in ("dvs-gesture", "cifar10-dvs", "shd"):
        monkeypatch.setattr(sys, "argv", ["dpap-bench", "fetch", name])
        with pytest.raises(SystemExit) as stopped:
            main()
        assert stopped.value.code == 1
        (said,) = capsys.readouterr().err.splitlines()
        assert said.endswith("install it with: pip install -c constraints.txt -e '.[events]'")


def test_splits_of_cifar10_dvs() -> None:
    """Known without the data: files lie in order, a thousand of each class."""
    labels = np.repeat(np.arange(10), 1000)
    test, validation, train = stratified("cifar10-dvs", labels, (1000, 900))
    assert [np.bincount(labels[p]).tolist() for p in (test, validation, train)] == [
        [100] * 10,
        [90] * 10,
        [810] * 10,
    ]
    assert digest((test, validation, train)) == tonic_sets.CIFAR10_DVS.splits


def aedat4(*rows: tuple[int, int, int, int]) -> bytes:
    """A file of one packet of events (t, x, y, p), as AEDAT 4 is: flatbuffers, uncompressed."""
    text = (
        b'<dv version="2.0"><node name="outInfo"><node name="0">'
        b'<attr key="typeIdentifier" type="string">EVTS</attr><node name="info">'
        b'<attr key="sizeX" type="int">128</attr><attr key="sizeY" type="int">128</attr>'
        b"</node></node></node></dv>"
    )
    # root and identifier; vtable of three fields, of which the third is there; table; string
    head = struct.pack("<I4s5Hxxi2I", 20, b"IOHE", 10, 8, 0, 0, 4, 12, 4, len(text)) + text + b"\0"
    body = struct.pack("<I4s3Hxxi2I", 16, b"EVTS", 6, 8, 4, 8, 4, len(rows))
    body += b"".join(struct.pack("<qhh?xxx", *row) for row in rows)
    packet = struct.pack("<I", len(body)) + body
    start = b"#!AER-DAT4.0\r\n" + struct.pack("<I", len(head)) + head
    return start + struct.pack("<II", 0, len(packet)) + packet


def native(i: int) -> list[tuple[int, int, int, int]]:
    """Events (t, x, y, p) of recording i, in thousands of microseconds; not in order."""
    return [(9000, 3, i, 0), (1000, i, 2, 1)]


def write_gestures(folder: Path) -> None:
    for part, users in (("ibmGestureTrain", 3), ("ibmGestureTest", 2)):
        for user in range(users):
            trial = folder / part / f"user{user + 1:02d}_led"
            trial.mkdir(parents=True)
            for label in range(11):
                rows = [(x, y, p, t // 1000) for t, x, y, p in native(label)]
                np.save(trial / f"{label}.npy", np.array(rows))


def write_cifar10(folder: Path) -> None:
    import tonic.datasets

    for name, label in tonic.datasets.CIFAR10DVS.classes.items():
        (folder / name).mkdir(parents=True)
        for i in range(4):
            path = folder / name / f"cifar10_{name}_{i}.aedat4"
            path.write_bytes(aedat4(*native(10 * i + label)))


def write_shd(folder: Path) -> None:
    import h5py

    folder.mkdir(parents=True)
    for part, number in (("train", 60), ("test", 20)):
        with h5py.File(folder / f"shd_{part}.h5", "w") as file:
            times = file.create_dataset(
                "spikes/times", (number,), h5py.special_dtype(vlen=np.dtype("float16"))
            )
            units = file.create_dataset(
                "spikes/units", (number,), h5py.special_dtype(vlen=np.dtype("uint16"))
            )
            for i in range(number):
                times[i], units[i] = np.array([0.25, 0.5], "f2"), np.array([i, 699], "u2")
            file["labels"] = np.arange(number, dtype=np.uint16) % 20
            file["extra/keys"] = np.array([b"zero"] * 20)
            file["extra/speaker"] = np.zeros(number, np.uint16)


SMALL: dict[str, tuple[str, Callable[[Path], None], dict[str, int], int, int]] = {
    "dvs-gesture": ("DVS_GESTURE", write_gestures, {TRAIN: 33, TEST: 22}, 11, 0),
    "cifar10-dvs": ("CIFAR10_DVS", write_cifar10, {ALL: 40}, 10, 10),
    "shd": ("SHD", write_shd, {TRAIN: 60, TEST: 20}, 20, 0),
}


@pytest.fixture(params=SMALL)
def small(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, TonicSet, Path]:
    """A small data set: its name, the set, and the folder of data."""
    pytest.importorskip("tonic", reason="needs the extra 'events'")
    pytest.importorskip("aedat", reason="needs the extra 'events'")
    name: str = request.param
    member, write, counts, validation, test = SMALL[name]
    real: TonicSet = getattr(tonic_sets, member)
    fields = vars(real) | {"counts": counts, "validation": validation, "test": test, "splits": ""}
    monkeypatch.setattr(tonic_sets, member, TonicSet(**fields))
    write(tmp_path / "data" / name / real.kind)
    return name, getattr(tonic_sets, member), tmp_path / "data"


def test_what_tonic_reads(small: tuple[str, TonicSet, Path]) -> None:
    name, made, root = small
    fetch(name, root)  # which finds all there
    data, test = load_training(name, root, BINNING), load_test(name, root, BINNING)
    whole = sum(made.counts.values())
    assert len(data.validation) == made.validation
    assert len(data.train) + len(data.validation) + len(test) == whole
    height, width = made.SENSOR
    assert data.input_shape == (made.polarities, height, width)
    for split in (data.train, data.validation, test):
        share = torch.bincount(split.labels, minlength=made.classes)
        assert share.min() == share.max() > 0
        assert split.inputs.shape[1] == 2
        for frames, label in zip(split.inputs, split.labels.tolist(), strict=True):
            (first, second) = frames.nonzero().tolist()
            if name == "shd":
                assert first[:3] == [0, 0, 0]
                assert first[3] % 20 == label
                assert second == [1, 0, 0, 699]
            else:
                assert first[:3] == [0, 1, 2]
                assert first[3] % made.classes == label
                assert second == [1, 0, first[3], 3]
    if made.test:  # cut here, from recordings that all differ
        seen = [x.numpy().tobytes() for s in (data.train, data.validation, test) for x in s.inputs]
        assert len(set(seen)) == whole
    halved = load_test(name, root, Binning(2, scale=2))
    assert halved.inputs.shape[3:] == (-(-height // 2), width // 2)


def first_count(made: TonicSet) -> int:
    return next(iter(made.counts.values()))


def read_all(made: TonicSet, folder: Path) -> None:
    part = made._part(folder, TRAIN)
    for number in range(len(part.labels)):
        part.events(number)


def test_one_recording(small: tuple[str, TonicSet, Path]) -> None:
    name, made, root = small
    recording = SOURCES[name].event_loader.recording
    number = first_count(made) - made.test
    binning = Binning(1, "time", "counts")
    data, hidden = load_training(name, root, binning), load_test(name, root, binning)
    shown = {}
    for i in range(number):
        label, events = recording(root / name, i)
        assert events["t"].tolist() == ([250_000, 500_000] if name == "shd" else [1000, 9000])
        shown[binning.frames(events, *made.SENSOR)[:, -made.polarities :].tobytes()] = label
    taught = {
        x.numpy().tobytes(): int(y)
        for split in (data.train, data.validation)
        for x, y in zip(split.inputs, split.labels, strict=True)
    }
    assert shown == taught
    if made.test:
        assert not shown.keys() & {x.numpy().tobytes() for x in hidden.inputs}
    with pytest.raises(BenchError, match=f"no recording {number}; it has {number}$"):
        recording(root / name, number)


@pytest.mark.parametrize("small", ["dvs-gesture", "cifar10-dvs"], indirect=True)
def test_the_order_is_not_that_of_the_file_system(
    small: tuple[str, TonicSet, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, made, root = small
    before = made._part(root / name, TRAIN)
    walk = os.walk

    def backwards(top: str) -> Iterator[tuple[str, list[str], list[str]]]:
        for path, folders, files in walk(top):
            yield path, folders, sorted(files, reverse=True)

    monkeypatch.setattr(os, "walk", backwards)
    after = made._part(root / name, TRAIN)
    assert before.labels.tolist() == after.labels.tolist()
    for number in range(len(before.labels)):
        assert before.events(number).tolist() == after.events(number).tolist()


def damages(whole: bytes) -> list[bytes]:
    return [b"", b"junk" * 20, whole[: len(whole) // 2], whole[:-3]]


def test_damaged_files(small: tuple[str, TonicSet, Path]) -> None:
    name, made, root = small
    path = max(p for p in (root / name).rglob("*") if p.is_file() and "est" not in p.name)
    if name == "dvs-gesture":
        path = max((root / name / made.kind / "ibmGestureTrain").rglob("*.npy"))
    whole = path.read_bytes()
    again = f"is damaged .*delete .*{made.kind}, then run: dpap-bench fetch {name}"
    for damage in damages(whole):
        path.write_bytes(damage)
        with pytest.raises(BenchError, match=again):
            read_all(made, root / name)
    path.write_bytes(whole)
    read_all(made, root / name)
    path.unlink()
    missing = "is damaged" if name == "shd" else "recordings of .* instead of"
    with pytest.raises(BenchError, match=missing):
        load_training(name, root, BINNING)
    shutil.rmtree(root / name / made.kind)
    with pytest.raises(BenchError, match=f"missing; run: dpap-bench fetch {name}"):
        load_training(name, root, BINNING)


def test_a_broken_header_of_aedat(tmp_path: Path) -> None:
    """Its reader panics, which is no `Exception`."""
    aedat = pytest.importorskip("aedat", reason="needs the extra 'events'")
    (tmp_path / "a.aedat4").write_bytes(b"#!AER-DAT4.0\r\n" + b"\x14\0\0\0" + b"\xff" * 40)
    with (
        pytest.raises(BenchError, match=r"^a is damaged \(.*\); delete it$"),
        tonic_sets._reading("a is damaged", "delete it"),
    ):
        aedat.Decoder(str(tmp_path / "a.aedat4"))


@pytest.mark.parametrize("small", ["dvs-gesture"], indirect=True)
def test_places_out_of_range_and_pickles(small: tuple[str, TonicSet, Path]) -> None:
    name, made, root = small
    path = max((root / name / made.kind / "ibmGestureTrain").rglob("*.npy"))
    np.save(path, np.array([(-1, 0, 0, 0)]))
    with pytest.raises(BenchError, match="x of an event is out of range"):
        load_training(name, root, BINNING)
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(BenchError, match="allow_pickle=False"):
        load_training(name, root, BINNING)


def archived(made: TonicSet, root: Path) -> list[Path]:
    """The archives of a small data set, as published, put there by hand."""
    folder, unpacked = root / made.name, root / made.name / made.kind
    paths = []
    for archive in made.archives():
        path = folder / archive.name
        if path.suffix == ".gz":
            part = archive.name.removesuffix(".tar.gz")
            with tarfile.open(path, "w:gz") as tar:
                tar.add(unpacked / part, part)
        elif made.name == "shd":
            with zipfile.ZipFile(path, "w") as zipped:
                zipped.write(unpacked / path.stem, path.stem)
        else:
            with zipfile.ZipFile(path, "w") as zipped:
                for kind in sorted(unpacked.iterdir()):
                    inner = io.BytesIO()
                    with zipfile.ZipFile(inner, "w") as one:
                        for file in kind.iterdir():
                            one.write(file, f"{kind.name}/{file.name}")
                    zipped.writestr(f"{kind.name}.zip", inner.getvalue())
        paths.append(path)
    shutil.rmtree(unpacked)
    return paths


def test_archives_put_there_by_hand(
    small: tuple[str, TonicSet, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, made, root = small
    before = load_test(name, root, BINNING)
    paths = archived(made, root)
    with pytest.raises(BenchError, match="has another checksum"):
        fetch(name, root)  # these are not the published ones
    sums = {p.name: hashlib.md5(p.read_bytes()).hexdigest() for p in paths}
    monkeypatch.setattr(Archive, "matches", lambda self, path: sums[self.name] == md5(path))
    fetch(name, root)
    assert not list((root / name / made.kind).rglob("*.zip"))
    after = load_test(name, root, BINNING)
    assert torch.equal(before.inputs, after.inputs)
    assert torch.equal(before.labels, after.labels)


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def test_addresses_are_those_of_tonic() -> None:
    tonic = pytest.importorskip("tonic.datasets", reason="needs the extra 'events'")
    pytest.importorskip("aedat", reason="needs the extra 'events'")
    kind = tonic.NMNIST
    assert (n_mnist.TRAIN.url, n_mnist.TRAIN.md5) == (kind.train_url, kind.train_md5)
    assert (n_mnist.TEST.url, n_mnist.TEST.md5) == (kind.test_url, kind.test_md5)
    for made in (tonic_sets.DVS_GESTURE, tonic_sets.CIFAR10_DVS, tonic_sets.SHD):
        archives = made.archives()
        assert len(archives) == len(made.counts)
        assert len({archive.md5 for archive in archives}) == len(archives)
        for archive in archives:
            assert archive.url.startswith("https://")
            assert archive.name.endswith((".zip", ".tar.gz"))
    names = [archive.name for archive in tonic_sets.SHD.archives()]
    assert names == ["shd_train.h5.zip", "shd_test.h5.zip"]


def test_a_linear_network_takes_spikes_of_a_cochlea() -> None:
    spec = NetworkSpec(kind="snn", layout="128FC", time_steps=3)
    network = Network(spec, (1, 1, 700), 20)
    assert network(torch.ones(3, 2, 1, 1, 700)).shape == (2, 20)
    assert network.stages[0].weights.weight.shape == (128, 700)
