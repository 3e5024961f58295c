"""Data sets read by tonic: native formats, splits, damage, fetching."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import struct
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.cli.main import main
from pipelines.common.errors import BenchError
from pipelines.data import SOURCES, fetch, load_test, load_training
from pipelines.data.download import RemoteFile
from pipelines.data.events import Binning
from pipelines.data.sets import n_mnist, tonic_sets
from pipelines.data.sets.tonic_sets import ALL, TEST, TRAIN, TonicSet
from pipelines.data.splits import digest, stratified
from pipelines.networks.network import Network
from pipelines.settings.network import NetworkSpec

BINNING = Binning(2, "time", "counts")


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
    with pytest.raises(BenchError, match="wrong checksum"):
        fetch(name, root)  # these are not the published ones
    small_ones = [RemoteFile(path.name, f"md5:{md5(path)}") for path in paths]
    monkeypatch.setattr(TonicSet, "archives", lambda _: small_ones)
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
    for archive, url, digits in (
        (n_mnist.TRAIN, kind.train_url, kind.train_md5),
        (n_mnist.TEST, kind.test_url, kind.test_md5),
    ):
        assert (archive.urls, archive.checksum) == ((url,), f"md5:{digits}")
    for made in (tonic_sets.DVS_GESTURE, tonic_sets.CIFAR10_DVS, tonic_sets.SHD):
        archives = made.archives()
        assert len(archives) == len(made.counts)
        assert len({archive.checksum for archive in archives}) == len(archives)
        for archive in archives:
            assert archive.urls[0].startswith("https://")
            assert archive.name.endswith((".zip", ".tar.gz"))
    names = [archive.name for archive in tonic_sets.SHD.archives()]
    assert names == ["shd_train.h5.zip", "shd_test.h5.zip"]


def test_a_linear_network_takes_spikes_of_a_cochlea() -> None:
    spec = NetworkSpec(kind="snn", layout="128FC", time_steps=3)
    network = Network(spec, (1, 1, 700), 20)
    assert network(torch.ones(3, 2, 1, 1, 700)).shape == (2, 20)
    assert network.stages[0].weights.weight.shape == (128, 700)
