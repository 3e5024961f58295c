"""Data sets: fixed disjoint splits, verified files, clear sentences for bad ones."""

from __future__ import annotations

import ast
import gzip
import hashlib
import io
import struct
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipelines.common.errors import BenchError, InputError
from pipelines.common.files import atomic_file
from pipelines.data import SOURCES, fetch, load_test, load_training
from pipelines.data.download import DATA_VARIABLE, obtain
from pipelines.data.sets import digits, fashion_mnist
from pipelines.data.sets.idx import read_idx
from pipelines.data.splits import digest, hash_order, stratified
from tests.helpers.paths import ROOT


@given(
    st.lists(st.integers(0, 4), min_size=20, max_size=120),
    st.integers(0, 10),
    st.integers(0, 10),
)
def test_splits_are_disjoint_complete_and_balanced(labels: list[int], a: int, b: int) -> None:
    array = np.array(labels)
    parts = stratified("name", array, (a, b))
    assert [len(p) for p in parts] == [a, b, len(labels) - a - b]
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(labels)))
    for label in set(labels):
        share = (array == label).mean()
        assert abs((array[parts[0]] == label).sum() - a * share) < 1 + 1e-9


def test_splits_do_not_fit() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        stratified("name", np.zeros(3, dtype=np.int64), (4,))


def test_order_depends_on_the_name_alone() -> None:
    order = hash_order("digits", np.arange(6))
    keys = [hashlib.sha256(f"digits:{i}".encode()).hexdigest() for i in order]
    assert keys == sorted(keys)
    assert digest([order]) != digest([hash_order("other", np.arange(6))])


def test_digits(data_root: Path) -> None:
    data = load_training("digits", data_root)
    test = load_test("digits", data_root)
    assert (len(data.train), len(data.validation), len(test)) == (1167, 180, 450)
    assert data.input_shape == (1, 8, 8)
    assert data.classes == 10
    assert abs(float(data.train.inputs.mean())) < 1e-5
    assert abs(float(data.train.inputs.std()) - 1) < 1e-4
    seen = {x.numpy().tobytes() for x in data.train.inputs}
    assert not seen & {x.numpy().tobytes() for x in test.inputs}
    for split in (data.train, data.validation, test):
        counts = torch.bincount(split.labels, minlength=10)
        assert counts.min() > 0.08 * len(split)


def test_only_evaluation_opens_the_test_split() -> None:
    callers = set()
    for folder in ("baselines", "dpap", "pipelines"):
        for file in (ROOT / folder).rglob("*.py"):
            names = {
                node.id if isinstance(node, ast.Name) else node.attr
                for node in ast.walk(ast.parse(file.read_text()))
                if isinstance(node, ast.Name | ast.Attribute)
            }
            if "load_test" in names:
                callers.add(file.relative_to(ROOT).as_posix())
    assert callers == {"pipelines/training/evaluation.py", "pipelines/data/catalogue.py"}


def test_damaged_digits_are_found_and_mended(tmp_path: Path) -> None:
    fetch("digits", tmp_path)
    path = tmp_path / "digits" / digits.FILE
    for damage in (path.read_bytes()[:-7], b"junk", b""):
        path.write_bytes(damage)
        with pytest.raises(BenchError, match="damaged; run: dpap-bench fetch digits"):
            load_training("digits", tmp_path)
        fetch("digits", tmp_path)
        assert len(load_training("digits", tmp_path).train) == 1167


def test_unknown_data_set() -> None:
    with pytest.raises(InputError, match="did you mean 'digits'"):
        fetch("digit", Path())
    assert set(SOURCES) >= {"digits", "fashion-mnist"}


@pytest.fixture
def small_fashion(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Fashion-MNIST's four files in their own format, with 40 and 20 images."""
    source = tmp_path / "source"
    source.mkdir()
    draw = np.random.default_rng(0)
    contents = {}
    for part, number in (("train", 40), ("t10k", 20)):
        images = draw.integers(0, 256, (number, 28, 28), dtype=np.uint8)
        labels = (np.arange(number) % 10).astype(np.uint8)
        contents[f"{part}-images-idx3-ubyte"] = (
            struct.pack(">I3I", 0x803, number, 28, 28) + images.tobytes()
        )
        contents[f"{part}-labels-idx1-ubyte"] = struct.pack(">II", 0x801, number) + labels.tobytes()
    for name, content in contents.items():
        (source / f"{name}.gz").write_bytes(gzip.compress(content, mtime=0))
    digests = {name: hashlib.sha256(c).hexdigest() for name, c in contents.items()}
    labels = np.arange(40) % 10
    small = replace(
        fashion_mnist.FASHION_MNIST,
        files=digests,
        validation=10,
        splits=digest(stratified("fashion-mnist", labels, (10,))),
        folders=(),
        mirrors=(),
    )
    monkeypatch.setattr(fashion_mnist, "FASHION_MNIST", small)
    return source


def test_fashion_mnist_from_a_folder(
    small_fashion: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(small_fashion))
    fetch("fashion-mnist", tmp_path / "data")
    data = load_training("fashion-mnist", tmp_path / "data")
    test = load_test("fashion-mnist", tmp_path / "data")
    assert (len(data.train), len(data.validation), len(test)) == (30, 10, 20)
    assert data.input_shape == (1, 28, 28)
    assert abs(float(data.train.inputs.mean())) < 1e-4
    assert abs(float(data.train.inputs.std()) - 1) < 1e-2
    assert data.validation.labels.bincount().tolist() == [1] * 10


@pytest.mark.skipif(
    not fashion_mnist.FASHION_MNIST.folders[0].is_dir(),
    reason="install the package dataset-fashion-mnist",
)
def test_the_real_fashion_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    small = replace(fashion_mnist.FASHION_MNIST, mirrors=())
    monkeypatch.setattr(fashion_mnist, "FASHION_MNIST", small)
    fetch("fashion-mnist", tmp_path)
    data = load_training("fashion-mnist", tmp_path)
    assert (len(data.train), len(data.validation)) == (55_000, 5_000)
    assert data.validation.labels.bincount().tolist() == [500] * 10
    test = load_test("fashion-mnist", tmp_path)
    assert test.labels.bincount().tolist() == [1000] * 10


def served(answers: dict[str, Any]) -> Any:
    """A stand-in for the network: address -> bytes or an error."""

    class Answer(io.BytesIO):
        status = 200
        headers: ClassVar[dict[str, str]] = {}

        def geturl(self) -> str:
            return "https://a/"

    def open_address(request: urllib.request.Request, timeout: float) -> Answer:
        answer = answers.get(request.full_url, OSError("no route to host"))
        if isinstance(answer, Exception):
            raise answer
        return Answer(answer)

    return open_address


CONTENT = b"the content" * 100
RIGHT = hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (gzip.compress(b"other", mtime=0), "wrong checksum"),
        (gzip.compress(CONTENT, mtime=0)[:-9], "ended before"),
        (CONTENT[:-1], "wrong checksum"),
        (OSError("no route to host"), "no route to host"),
    ],
)
def test_bad_sources_are_named_and_the_next_mirror_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: Any, reason: str
) -> None:
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    target = tmp_path / "data" / "file"
    good = gzip.compress(CONTENT, mtime=0)
    monkeypatch.setattr(
        urllib.request, "urlopen", served({"https://a/file.gz": first, "https://b/file.gz": good})
    )
    with pytest.raises(BenchError, match=reason) as caught:
        obtain("file", RIGHT, (), ["https://a/file.gz"], target)
    assert DATA_VARIABLE in str(caught.value), "the sentence says what to do"
    assert not target.exists()
    assert not list(tmp_path.rglob("*file*")), "no half file"
    obtain("file", RIGHT, (), ["https://a/file.gz", "https://b/file.gz"], target)
    assert target.read_bytes() == CONTENT


def test_plain_http_is_never_used(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="not an https address"):
        obtain("file", RIGHT, (), ["http://a/file.gz"], tmp_path / "file")


def test_a_wrong_file_in_place_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "file").write_bytes(CONTENT)
    target = tmp_path / "file"
    target.write_bytes(b"old")
    obtain("file", RIGHT, [tmp_path / "source"], (), target)
    assert target.read_bytes() == CONTENT


def test_truncated_and_foreign_idx_files(tmp_path: Path) -> None:
    path = tmp_path / "file"
    good = struct.pack(">II", 0x801, 3) + b"abc"
    path.write_bytes(good)
    assert read_idx(path).tolist() == [97, 98, 99]
    for content, reason in [
        (good[:-1], "truncated"),
        (good[:6], "truncated"),
        (b"", "no IDX file"),
        (b"\x89PNG", "no IDX file"),
    ]:
        path.write_bytes(content)
        with pytest.raises(BenchError, match=reason):
            read_idx(path)


def test_full_disk_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    target = tmp_path / "record.json"
    target.write_text("old")
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(BenchError, match="No space left on device"), atomic_file(target) as file:
        file.write(b"new")
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["record.json"]
