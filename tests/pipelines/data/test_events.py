"""Event data: the ATIS format, frames, simulated saccades, archives, `fashion-dvs`."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from pipelines.cli import publishing
from pipelines.common.errors import BenchError, InputError
from pipelines.data import load_test, load_training
from pipelines.data import pictures as picture
from pipelines.data.events import EVENT, Binning, Events, decode, encode
from pipelines.data.images import Images
from pipelines.data.sets import fashion_dvs, fashion_mnist, recordings
from pipelines.data.sets import saccades as eye
from pipelines.data.sets.idx import IdxFiles
from pipelines.data.splits import Split


def events_of(*rows: tuple[int, int, int, int]) -> Events:
    """Events (t, x, y, p)."""
    return np.array(list(rows), EVENT)


def test_the_format_is_that_of_n_mnist() -> None:
    # x = 3, y = 5, brighter, t = 0x012345: polarity shares its byte with the time's upper bits
    assert encode(events_of((0x012345, 3, 5, 1))) == bytes([3, 5, 0x81, 0x23, 0x45])
    (event,) = decode(bytes([33, 0, 0x7F, 0xFF, 0xFF]), "a.bin")
    assert event.tolist() == (2**23 - 1, 33, 0, False)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2**23 - 1), st.integers(0, 255), st.integers(0, 255), st.booleans()
        )
    )
)
def test_what_is_written_is_read(rows: list[tuple[int, int, int, bool]]) -> None:
    events = np.array(sorted(rows), EVENT)
    assert (decode(encode(events), "a.bin") == events).all()


def test_what_does_not_fit_the_format() -> None:
    for row in ((2**23, 0, 0, 1), (0, 256, 0, 1), (0, 0, -1, 1)):
        with pytest.raises(ValueError, match="must be in"):
            encode(events_of(row))
    with pytest.raises(BenchError, match=r"a\.bin is truncated: 7 bytes"):
        decode(bytes(7), "a.bin")
    late_first = encode(events_of((9, 0, 0, 1))) + encode(events_of((8, 0, 0, 1)))
    with pytest.raises(BenchError, match="times go backwards"):
        decode(late_first, "a.bin")


def test_frames_by_hand() -> None:
    events = events_of(
        (100, 0, 0, 1), (104, 0, 0, 1), (105, 1, 0, 0), (199, 2, 1, 1), (199, 7, 0, 1)
    )
    by_time = Binning(2, "time", "counts").frames(events, 2, 3)
    assert by_time.shape == (2, 2, 2, 3)
    assert by_time[0].tolist() == [[[0, 1, 0], [0, 0, 0]], [[2, 0, 0], [0, 0, 0]]]
    assert by_time[1].tolist() == [[[0, 0, 0], [0, 0, 0]], [[0, 0, 0], [0, 0, 1]]]
    binary = Binning(2, "time", "binary").frames(events, 2, 3)
    assert binary.max() == 1
    assert (binary == (by_time > 0)).all()
    by_count = Binning(2, "count", "counts").frames(events, 2, 3)  # 3 and 2, one outside
    assert by_count.sum((1, 2, 3)).tolist() == [3, 1]
    assert Binning(3).frames(events_of(), 2, 3).sum() == 0


@given(
    st.lists(st.integers(0, 1000), min_size=1, max_size=200),
    st.integers(1, 7),
    st.sampled_from(["time", "count"]),
)
def test_every_event_is_in_a_frame_in_order(times: list[int], steps: int, by: str) -> None:
    binning = Binning(steps, by, "counts")  # type: ignore[arg-type]
    events = events_of(*((t, i % 2, 0, 1) for i, t in enumerate(sorted(times))))
    frames = binning.frames(events, 1, 2)
    assert frames.sum(dtype=int) == len(times)
    per_frame = frames.sum((1, 2, 3), dtype=int)
    if by == "count":
        assert per_frame.max() - per_frame.min() <= 1
    else:
        first, last = min(times), max(times)
        early = sum(t - first < (last - first + 1) / steps for t in times)
        assert per_frame[0] == early


def reference(image: NDArray[np.uint8]) -> list[tuple[int, int, int, bool]]:
    """One pixel after another, in floating point: events (t, y, x, p) of the saccades."""
    reach = max(max(c) for c in eye.CORNERS) // 16 + 1
    wide = eye.SIDE + reach
    scene = np.full((wide, wide), 0, np.uint8)
    top, left = (wide - image.shape[0]) // 2, (wide - image.shape[1]) // 2
    scene[top : top + image.shape[0], left : left + image.shape[1]] = image
    log = np.round(4096 * np.log(eye.BLACK + scene / 255))

    def at(row: int, column: int, x: int, y: int) -> float:
        r, c, f, g = row + y // 16, column + x // 16, y % 16 / 16, x % 16 / 16
        upper = log[r, c] * (1 - g) + (log[r, c + 1] * g if g else 0)
        lower = (log[r + 1, c] * (1 - g) + (log[r + 1, c + 1] * g if g else 0)) if f else 0
        return float(upper * (1 - f) + lower * f)

    found = []
    for row in range(eye.SIDE):
        for column in range(eye.SIDE):
            (x, y, before), *rest = eye.path()
            level = last = at(row, column, x, y)
            for x, y, now in rest:
                seen = at(row, column, x, y)
                while abs(seen - level) >= eye.THRESHOLD:
                    level += np.sign(seen - level) * eye.THRESHOLD
                    share = (level - last) / (seen - last)
                    time = before + int(np.floor(share * (now - before)))
                    found.append((time, row, column, bool(seen > last)))
                last, before = seen, now
    return sorted(found)


def test_the_simulation_against_one_pixel_at_a_time() -> None:
    draw = np.random.default_rng(0)
    images = np.stack(
        [draw.integers(0, 256, (9, 9), dtype=np.uint8), np.full((9, 9), 255, np.uint8)]
    )
    for image, events in zip(images, eye.simulate(images), strict=True):
        mine = [(int(e["t"]), int(e["y"]), int(e["x"]), bool(e["p"])) for e in events]
        assert len(mine) > 100
        assert mine == reference(image)


def test_the_eye_comes_back() -> None:
    """A path that ends where it began makes a pixel as bright as it was: as many up as down."""
    path = eye.path()
    assert path[0][:2] == path[-1][:2]
    assert path[-1][2] == 300_000
    image = np.random.default_rng(1).integers(0, 256, (1, 28, 28), dtype=np.uint8)
    (events,) = eye.simulate(image)
    assert 0 <= events["t"].min() <= events["t"].max() <= 300_000
    assert abs(2 * int(events["p"].sum()) - len(events)) < 0.02 * len(events)
    (nothing,) = eye.simulate(np.zeros((1, 28, 28), np.uint8))
    assert len(nothing) == 0


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
    with pytest.raises(BenchError, match="differs from what this suite was made with"):
        fashion_dvs.fetch(elsewhere)
    made = {name: recordings.digest(elsewhere / name) for name in fashion_dvs.CONTENT}
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
    monkeypatch.setattr(recordings, "write", lambda *_: pytest.fail("it was written again"))
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
    with pytest.raises(BenchError, match=r"bin in .*Train\.zip is damaged .*fetch it again"):
        load_training("fashion-dvs", small, BINNING)


def test_other_names_in_an_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("shoe/first.bin", b"")
    with pytest.raises(BenchError, match=r"'shoe/first\.bin' is not named LABEL/NUMBER\.bin"):
        recordings.read_frames(tmp_path / "a.zip", BINNING, 2, 2)
    with pytest.raises(BenchError, match="missing or damaged"):
        recordings.read(tmp_path / "b.zip", 0)


def test_a_workload_must_say_how_events_become_frames(small: Path) -> None:
    with pytest.raises(InputError, match=r"'frames: \{by: time\}'"):
        load_training("fashion-dvs", small)


def test_a_picture_shows_where_and_when(small: Path) -> None:
    events = events_of((0, 1, 0, 1), (90, 2, 1, 0), (95, 2, 1, 0))
    drawn = picture.strip(events, 2, 3, frames=2)
    assert drawn.shape == (2 * 5 + 4, 2 * (3 * 5 + 2) + 2, 3)
    once, twice = drawn[2, 2 + 5], drawn[2 + 5, 2 + 17 + 10]  # frames 0 and 1
    assert once.tolist() == [(255 + c) // 2 for c in picture.BRIGHTER]
    assert (np.abs(twice.astype(int) - (255 * 0.25 + 0.75 * np.array(picture.DARKER))) <= 1).all()
    assert (drawn == 255).all(2).sum() == (2 * 6 - 2) * 25


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


def test_images_are_left_as_they_are() -> None:
    split = Split(torch.randn(5, 1, 2, 2), torch.arange(5))
    inputs, _ = split.batch(slice(1, 3))
    assert torch.equal(inputs, split.inputs[1:3])
