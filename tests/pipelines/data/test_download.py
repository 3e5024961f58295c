"""Remote files: found on this machine or downloaded, from servers that break off or lie."""

from __future__ import annotations

import gzip
import hashlib
import io
import urllib.error
import urllib.request
from dataclasses import replace
from email.message import Message
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.common.errors import BenchError
from pipelines.data import fetch
from pipelines.data.download import DATA_VARIABLE, RemoteFile

CONTENT = np.random.default_rng(0).bytes(1000)
GZIPPED = gzip.compress(CONTENT, mtime=0)
FILE = RemoteFile(
    "a.zip", f"sha256:{hashlib.sha256(CONTENT).hexdigest()}", ("https://a.org/1", "https://b.org/2")
)
ONE = replace(FILE, urls=FILE.urls[:1])
PACKED = replace(FILE, name="a.bin", gzipped=True)


class Server:
    """A stand-in for a server of one file: at most `limit` bytes a time, ranges or not."""

    def __init__(self, content: bytes, limit: int | None = None, ranges: bool = True) -> None:
        self.content, self.limit, self.ranges = content, limit, ranges
        self.starts: list[int] = []
        self.redirects_to = ""

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
        answer.geturl = lambda: self.redirects_to or request.full_url
        return answer


def serve(monkeypatch: pytest.MonkeyPatch, *servers: Any) -> None:
    """Answer requests to each address by its server."""

    def answer(request: urllib.request.Request, timeout: float) -> Any:
        return dict(zip(FILE.urls, servers, strict=False))[request.full_url](request, timeout)

    monkeypatch.setattr(urllib.request, "urlopen", answer)


def gone(request: urllib.request.Request, timeout: float) -> None:
    """Stand in for a server without the file."""
    raise urllib.error.HTTPError(request.full_url, 404, "Not Found", Message(), None)


def unreachable(*_: object) -> None:
    """Stand in for no network."""
    raise OSError("no route to host")


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_a_download_is_verified_and_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    server = Server(CONTENT)
    serve(monkeypatch, server)
    path = FILE.fetch(tmp_path / "set")
    assert path == tmp_path / "set" / "a.zip" == FILE.find(tmp_path / "set")
    assert path.read_bytes() == CONTENT
    assert FILE.fetch(tmp_path / "set") == path
    assert server.starts == [0], "a file that is there is not fetched again"
    assert names(path.parent) == ["a.zip"]


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_checksums(tmp_path: Path, algorithm: str) -> None:
    file = replace(FILE, checksum=f"{algorithm}:{hashlib.new(algorithm, CONTENT).hexdigest()}")
    for content, found in ((CONTENT, tmp_path / "a.zip"), (CONTENT[1:], None)):
        (tmp_path / "a.zip").write_bytes(content)
        assert file.find(tmp_path) == found


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("content", [CONTENT, GZIPPED])
def test_a_broken_transfer_is_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ranges: bool, content: bytes
) -> None:
    server = Server(content, limit=600)
    serve(monkeypatch, server)
    file = replace(PACKED, urls=ONE.urls)
    with pytest.raises(BenchError, match=f"broke off after 600 of {len(content)} bytes"):
        file.fetch(tmp_path)
    (part,) = tmp_path.iterdir()
    assert part.name.startswith("a.bin.")
    assert part.read_bytes() == content[:600]
    server.limit, server.ranges = None, ranges
    assert file.fetch(tmp_path).read_bytes() == CONTENT
    assert server.starts == [0, 600]
    assert names(tmp_path) == ["a.bin"], "no part is left"


def test_each_address_has_a_part_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(monkeypatch, Server(CONTENT, limit=600), Server(GZIPPED, limit=300))
    with pytest.raises(BenchError, match=r"broke off after 600 .* broke off after 300 of"):
        PACKED.fetch(tmp_path)
    assert len(names(tmp_path)) == 2
    serve(monkeypatch, unreachable, Server(GZIPPED))
    assert PACKED.fetch(tmp_path).read_bytes() == CONTENT
    assert names(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("size", [400, 2000])
def test_a_part_of_another_file_spoils_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    serve(monkeypatch, Server(bytes(2 * size), limit=size))
    with pytest.raises(BenchError, match="broke off"):
        ONE.fetch(tmp_path)
    serve(monkeypatch, Server(CONTENT))
    if size < len(CONTENT):
        with pytest.raises(BenchError, match=r"wrong checksum.*; the download was deleted"):
            ONE.fetch(tmp_path)
        assert not names(tmp_path)
    assert ONE.fetch(tmp_path).read_bytes() == CONTENT
    assert names(tmp_path) == ["a.zip"]


def test_a_complete_part_needs_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, Server(CONTENT + b"more", limit=len(CONTENT)))
    with pytest.raises(BenchError, match="broke off"):
        ONE.fetch(tmp_path)
    serve(monkeypatch, unreachable)
    assert ONE.fetch(tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (Server(gzip.compress(b"other", mtime=0)), "wrong checksum"),
        (Server(GZIPPED[:-9]), "cannot be read .*ended before"),
        (Server(CONTENT[:-1]), "wrong checksum"),
        (unreachable, "no route to host"),
        (gone, r"the link is dead \(HTTP 404\)"),
    ],
)
def test_bad_sources_are_named_and_the_next_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: Any, reason: str
) -> None:
    serve(monkeypatch, first, Server(GZIPPED))
    folder = tmp_path / "data"
    with pytest.raises(BenchError, match=f"Tried: https://a.org/1: {reason}") as caught:
        replace(PACKED, urls=ONE.urls).fetch(folder)
    for said in (f"put a.bin or a.bin.gz into {folder}", DATA_VARIABLE):
        assert said in str(caught.value)
    assert not list(tmp_path.rglob("*.bin*"))
    assert PACKED.fetch(folder).read_bytes() == CONTENT


def test_only_https(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    server = Server(CONTENT)
    serve(monkeypatch, server)
    with pytest.raises(BenchError, match="not an https address"):
        replace(FILE, urls=("http://a.org/1",)).fetch(tmp_path)
    assert not server.starts
    server.redirects_to = "http://a.org/2"
    with pytest.raises(BenchError, match=r"redirects to http://a\.org/2, which is not an https"):
        ONE.fetch(tmp_path)


def test_where_a_file_may_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "own"))
    system = tmp_path / "system"
    file = replace(FILE, folders=(system,))
    assert file.find(tmp_path / "set") is None
    for place in (system, tmp_path / "own" / "set", tmp_path / "own", tmp_path / "set"):
        place.mkdir(parents=True, exist_ok=True)
        (place / "a.zip").write_bytes(CONTENT)
        assert file.find(tmp_path / "set") == place / "a.zip"
        assert names(place) == sorted(["a.zip", *(["set"] if place.name == "own" else [])])
    for place in (tmp_path / "set", tmp_path / "own" / "set"):
        (place / "a.zip").write_bytes(CONTENT[:-1])
    assert file.find(tmp_path / "set") == tmp_path / "own" / "a.zip"


def test_a_file_from_elsewhere_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "own"))
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "a.bin.gz").write_bytes(GZIPPED)
    assert PACKED.find(tmp_path / "set") is None, "it has to be uncompressed"
    assert PACKED.fetch(tmp_path / "set").read_bytes() == CONTENT
    assert PACKED.find(tmp_path / "set") == tmp_path / "set" / "a.bin"
    assert (tmp_path / "own" / "a.bin.gz").read_bytes() == GZIPPED


def test_a_wrong_file_in_place_is_named_and_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.zip").write_bytes(b"old")
    serve(monkeypatch, unreachable)
    with pytest.raises(BenchError, match=r"Tried: .*a\.zip: wrong checksum, not sha256:.*route"):
        ONE.fetch(tmp_path)
    assert (tmp_path / "a.zip").read_bytes() == b"old"
    serve(monkeypatch, Server(CONTENT))
    assert ONE.fetch(tmp_path).read_bytes() == CONTENT


def test_verification_before_reading(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"a\.zip is missing; run: dpap-bench fetch set"):
        FILE.verify(tmp_path, "set")
    (tmp_path / "a.zip").write_bytes(CONTENT[:-1])
    with pytest.raises(BenchError, match=r"a\.zip is damaged; run: dpap-bench fetch set"):
        FILE.verify(tmp_path, "set")
    (tmp_path / "a.zip").write_bytes(CONTENT)
    assert FILE.verify(tmp_path, "set") == tmp_path / "a.zip"


def test_a_file_that_needs_a_browser(tmp_path: Path) -> None:
    file = replace(FILE, urls=(), page="https://a.org/page")
    with pytest.raises(BenchError) as caught:
        file.fetch(tmp_path)
    assert str(caught.value) == (
        f"cannot get a.zip: download it from https://a.org/page in a browser and put it into "
        f"{tmp_path}, or into a folder that you name in DPAP_BENCH_DATA, then run the same command "
        "again."
    )


@pytest.mark.parametrize("name", ["cifar-10", "n-mnist"])
def test_a_dead_link_of_a_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(urllib.request, "urlopen", gone)
    with pytest.raises(BenchError, match=r"https://.*: the link is dead \(HTTP 404\)"):
        fetch(name, tmp_path)
