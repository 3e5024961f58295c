"""Transfers that break off, go on, or never begin; without a network."""

from __future__ import annotations

import hashlib
import io
import urllib.error
import urllib.request
from email.message import Message
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.core.data import cifar10, fetch
from pipelines.core.data.files import DATA_VARIABLE, obtain
from pipelines.core.errors import BenchError


@pytest.fixture(autouse=True)
def _no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DATA_VARIABLE, raising=False)


class Server:
    """A stand-in for a server with one file, which may break off and may go on later."""

    def __init__(self, content: bytes, stops_at: int | None = None, resumes: bool = True) -> None:
        self.content, self.stops_at, self.resumes = content, stops_at, resumes
        self.starts: list[int] = []

    def __call__(self, request: urllib.request.Request, timeout: float) -> Any:
        asked = int((request.get_header("Range") or "bytes=0-")[len("bytes=") : -1])
        self.starts.append(asked)
        if asked >= len(self.content):
            raise urllib.error.HTTPError(request.full_url, 416, "Range", Message(), None)
        start = asked if self.resumes else 0
        answer: Any = io.BytesIO(self.content[start : self.stops_at])
        answer.status = 206 if start else 200
        answer.headers = {"Content-Length": str(len(self.content) - start)}
        answer.geturl = lambda: request.full_url
        return answer


CONTENT = np.random.default_rng(0).bytes(1000)
RIGHT = hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize("resumes", [True, False])
def test_a_broken_transfer_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resumes: bool
) -> None:
    target = tmp_path / "a.tar.gz"
    server = Server(CONTENT, stops_at=600)
    monkeypatch.setattr(urllib.request, "urlopen", server)
    with pytest.raises(BenchError, match="broke off after 600 of 1000 bytes"):
        obtain(target.name, RIGHT, (), ["https://a/a.tar.gz"], target)
    assert not target.exists()
    server.stops_at, server.resumes = None, resumes
    obtain(target.name, RIGHT, (), ["https://a/a.tar.gz"], target)
    assert server.starts == [0, 600]
    assert [file.name for file in tmp_path.iterdir()] == ["a.tar.gz"], "no part is left"
    assert target.read_bytes() == CONTENT


def test_a_part_of_something_else_spoils_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a.tar.gz"
    for old in (bytes(400), bytes(2000)):
        monkeypatch.setattr(urllib.request, "urlopen", Server(old + old, stops_at=len(old)))
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
    def gone(request: urllib.request.Request, timeout: float) -> None:
        raise urllib.error.HTTPError(request.full_url, 404, "Not Found", Message(), None)

    monkeypatch.setattr(urllib.request, "urlopen", gone)
    with pytest.raises(BenchError) as caught:
        fetch("cifar-10", tmp_path)
    for mirror in cifar10.MIRRORS:
        assert f"{mirror}cifar-10-binary.tar.gz: the link is dead (HTTP 404)" in str(caught.value)
