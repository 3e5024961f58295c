"""Transfers that break off, go on, or never begin; without a network."""

from __future__ import annotations

import hashlib
import io
import tarfile
import urllib.error
import urllib.request
import zipfile
from email.message import Message
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.common.errors import BenchError
from pipelines.data import fetch
from pipelines.data.download import DATA_VARIABLE, Archive, obtain, obtain_archive, unpack
from pipelines.data.sets import cifar, n_mnist


@pytest.fixture(autouse=True)
def _no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DATA_VARIABLE, raising=False)


class Server:
    """A stand-in for a server with one file: at most `limit` bytes a time, ranges or not."""

    def __init__(self, content: bytes, limit: int | None = None, ranges: bool = True) -> None:
        self.content, self.limit, self.ranges = content, limit, ranges
        self.starts: list[int] = []
        self.led_to = ""

    def __call__(self, request: urllib.request.Request, timeout: float) -> Any:
        asked = int((request.get_header("Range") or "bytes=0-")[len("bytes=") : -1])
        self.starts.append(asked)
        if asked >= len(self.content):
            raise urllib.error.HTTPError(request.full_url, 416, "Range", Message(), None)
        start = asked if self.ranges else 0
        end = None if self.limit is None else start + self.limit
        answer: Any = io.BytesIO(self.content[start:end])
        answer.status = 206 if start else 200
        answer.headers = {"Content-Length": str(len(self.content) - start)}
        answer.geturl = lambda: self.led_to or request.full_url
        return answer


def gone(request: urllib.request.Request, timeout: float) -> None:
    """Stands in for a server without the file."""
    raise urllib.error.HTTPError(request.full_url, 404, "Not Found", Message(), None)


CONTENT = np.random.default_rng(0).bytes(1000)
RIGHT = hashlib.sha256(CONTENT).hexdigest()
ARCHIVE = Archive("a.zip", "https://example.org/1", hashlib.md5(CONTENT).hexdigest())


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_transfer_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ranges: bool
) -> None:
    target = tmp_path / "a.tar.gz"
    server = Server(CONTENT, limit=600)
    monkeypatch.setattr(urllib.request, "urlopen", server)
    with pytest.raises(BenchError, match="broke off after 600 of 1000 bytes"):
        obtain(target.name, RIGHT, (), ["https://a/a.tar.gz"], target)
    assert not target.exists()
    server.limit, server.ranges = None, ranges
    obtain(target.name, RIGHT, (), ["https://a/a.tar.gz"], target)
    assert server.starts == [0, 600]
    assert [file.name for file in tmp_path.iterdir()] == ["a.tar.gz"], "no part is left"
    assert target.read_bytes() == CONTENT


def test_a_part_of_something_else_spoils_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a.tar.gz"
    for old in (bytes(400), bytes(2000)):
        monkeypatch.setattr(urllib.request, "urlopen", Server(old + old, limit=len(old)))
        with pytest.raises(BenchError, match="broke off"):
            obtain(target.name, RIGHT, (), ["https://a/a.tar.gz"], target)
        monkeypatch.setattr(urllib.request, "urlopen", Server(CONTENT))
        if len(old) < len(CONTENT):
            with pytest.raises(BenchError, match="wrong checksum"):
                obtain(target.name, RIGHT, (), ["https://a/a.tar.gz"], target)
            assert not any(tmp_path.iterdir())
        obtain(target.name, RIGHT, (), ["https://a/a.tar.gz"], target)
        assert [file.name for file in tmp_path.iterdir()] == ["a.tar.gz"]
        target.unlink()


def test_a_dead_link_is_called_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urllib.request, "urlopen", gone)
    with pytest.raises(BenchError) as caught:
        fetch("cifar-10", tmp_path)
    for mirror in cifar.MIRRORS:
        assert f"{mirror}cifar-10-binary.tar.gz: the link is dead (HTTP 404)" in str(caught.value)


def test_a_download_is_verified_and_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    server = Server(CONTENT)
    monkeypatch.setattr(urllib.request, "urlopen", server)
    path = obtain_archive(ARCHIVE, tmp_path / "set")
    assert path == tmp_path / "set" / "a.zip"
    assert path.read_bytes() == CONTENT
    assert obtain_archive(ARCHIVE, tmp_path / "set") == path
    assert server.starts == [0], "what is there is not fetched again"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_goes_on_where_it_stopped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ranges: bool
) -> None:
    server = Server(CONTENT, 600, ranges)
    monkeypatch.setattr(urllib.request, "urlopen", server)
    with pytest.raises(BenchError, match="the transfer broke off after 600 of 1000 bytes"):
        obtain_archive(ARCHIVE, tmp_path)
    assert (tmp_path / "a.zip.part").read_bytes() == CONTENT[:600]
    assert not (tmp_path / "a.zip").exists()
    server.limit = None
    assert obtain_archive(ARCHIVE, tmp_path).read_bytes() == CONTENT
    assert server.starts == [0, 600]


def test_a_complete_part_needs_no_network(tmp_path: Path) -> None:
    (tmp_path / "a.zip.part").write_bytes(CONTENT)
    assert obtain_archive(ARCHIVE, tmp_path).read_bytes() == CONTENT


def test_wrong_content_is_thrown_away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(urllib.request, "urlopen", Server(CONTENT[::-1]))
    with pytest.raises(BenchError, match="wrong checksum; what was downloaded is deleted"):
        obtain_archive(ARCHIVE, tmp_path)
    assert not list(tmp_path.iterdir())
    (tmp_path / "a.zip.part").write_bytes(CONTENT * 2)  # longer than what the server has
    monkeypatch.setattr(urllib.request, "urlopen", Server(CONTENT))
    assert obtain_archive(ARCHIVE, tmp_path).read_bytes() == CONTENT


def test_only_https(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    server = Server(CONTENT)
    monkeypatch.setattr(urllib.request, "urlopen", server)
    plain = Archive("a.zip", "http://example.org/1", ARCHIVE.md5)
    with pytest.raises(BenchError, match="not an https address"):
        obtain_archive(plain, tmp_path)
    assert not server.starts
    server.led_to = "http://example.org/2"
    with pytest.raises(BenchError, match=r"led to http://example\.org/2"):
        obtain_archive(ARCHIVE, tmp_path)


def test_put_there_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "own"))
    for place in (tmp_path / "own" / "set", tmp_path / "own", tmp_path / "set"):
        place.mkdir(parents=True, exist_ok=True)
        (place / "a.zip").write_bytes(CONTENT)
        assert obtain_archive(ARCHIVE, tmp_path / "set") == place / "a.zip"
    (tmp_path / "set" / "a.zip").write_bytes(CONTENT[:-1])
    with pytest.raises(BenchError, match=r"a\.zip has another checksum .* delete it"):
        obtain_archive(ARCHIVE, tmp_path / "set")


def test_a_dead_link_of_an_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urllib.request, "urlopen", gone)
    with pytest.raises(BenchError) as failed:
        fetch("n-mnist", tmp_path)
    for said in (n_mnist.TRAIN.url, "404", str(tmp_path / "n-mnist" / "Train.zip"), DATA_VARIABLE):
        assert said in str(failed.value)


def test_nothing_is_unpacked_outside(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        entry = tarfile.TarInfo("../outside")
        entry.size = 1
        archive.addfile(entry, io.BytesIO(b"x"))
    with pytest.raises(BenchError, match=r"cannot unpack .*a\.tar\.gz"):
        unpack([tmp_path / "a.tar.gz"], tmp_path / "new")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as zipped:
        zipped.writestr("../outside", "x")
    unpack([tmp_path / "b.zip"], tmp_path / "new")
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["outside"]
    (tmp_path / "c.zip").write_bytes((tmp_path / "b.zip").read_bytes()[:-9])
    with pytest.raises(BenchError, match=r"cannot unpack .*c\.zip"):
        unpack([tmp_path / "c.zip"], tmp_path / "other")
    assert {p.name for p in tmp_path.iterdir()} == {"a.tar.gz", "b.zip", "c.zip", "new"}
