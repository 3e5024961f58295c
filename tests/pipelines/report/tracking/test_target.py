"""Which tracking store is meant, and what is said of one that cannot be used."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from pipelines.common.errors import BenchError
from pipelines.report.tracking.target import Target, choose_target, connect

pytestmark = pytest.mark.filterwarnings("ignore")


def test_the_option_wins_over_the_variable_and_the_variable_over_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = choose_target(tmp_path, None)
    assert (own.database, own.origin, own.is_own) == (tmp_path / "mlflow.db", "", True)
    assert own.artifacts == (tmp_path / "mlruns").as_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:5000")
    variable = choose_target(tmp_path, None)
    assert variable.shown == "http://server:5000 (MLFLOW_TRACKING_URI)"
    assert (variable.artifacts, variable.is_own) == (None, False)
    assert choose_target(tmp_path, "https://other").shown == "https://other (--uri)"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert choose_target(tmp_path, None) == own


def test_artifacts_lie_beside_a_database_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shared = Target("sqlite:///team/tracking.db", "--uri", tmp_path)
    assert shared.artifacts == (tmp_path / "team" / "mlruns").as_uri()
    assert not shared.is_own, "others may have runs in it that nobody can make again"
    assert Target("sqlite:///mlflow.db", "--uri", tmp_path).is_own


def test_a_password_is_not_shown() -> None:
    for uri in ("https://me:secret@server/mlflow?key=secret", "postgresql://me:secret@server/db"):
        shown = Target(uri, "", Path()).shown
        assert "secret" not in shown
        assert "server/" in shown


@contextmanager
def answering(status: int, text: str) -> Iterator[str]:
    """The address of a server that gives this answer to every request."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "text", "sentence"),
    [
        (401, "no such user", "refuses the request .401: no such user.; set MLFLOW_TRACKING_USER"),
        (403, "Invalid Host header", "403: Invalid Host header"),
        (404, "nothing here", "does not answer as an MLflow server does .status 404."),
        (200, "<html>", "does not answer as an MLflow server does"),
        (503, "later", "status 503"),
    ],
)
def test_a_server_that_refuses(tmp_path: Path, status: int, text: str, sentence: str) -> None:
    with answering(status, text) as uri, pytest.raises(BenchError, match=sentence):
        connect(Target(uri, "--uri", tmp_path))


def closed_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_a_server_that_is_down(tmp_path: Path) -> None:
    target = Target(f"http://127.0.0.1:{closed_port()}", "--uri", tmp_path)
    with pytest.raises(BenchError, match=r"no MLflow server answers at http://127\.0\.0\.1:\d+"):
        connect(target)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("text " * 1000)
    target = Target(f"sqlite:///{tmp_path / 'notes.db'}", "--uri", tmp_path)
    with pytest.raises(BenchError, match="file is not a database"):
        connect(target)


@pytest.mark.parametrize("uri", ["mlruns", "file:///mlruns", "nosuch://server"])
def test_a_store_that_mlflow_does_not_know_or_no_longer_writes(tmp_path: Path, uri: str) -> None:
    with pytest.raises(BenchError, match=f"{uri}.*: .+"):
        connect(Target(uri, "--uri", tmp_path))
