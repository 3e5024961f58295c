"""A tracking server as MLflow's documentation starts it: SQLite, artifacts through the server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from msgspec.structs import replace

from pipelines.boards.params import Params
from pipelines.records.store import board_store
from pipelines.report.tracking.experiments import experiments
from pipelines.report.tracking.sink import synchronize
from pipelines.report.tracking.target import Target, connect
from pipelines.report.tracking.tracker import Tracker
from tests.helpers.handmade import unstructured
from tests.pipelines.report.tracking.test_target import closed_port

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Address of a server, and its folder."""
    folder, port = tmp_path / "server", closed_port()
    folder.mkdir()
    command = [str(Path(sys.executable).with_name("mlflow")), "server", "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
    command += ["--artifacts-destination", str(folder / "artifacts"), "--port", str(port)]
    known = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env=known, start_new_session=True
        )
    address = f"http://127.0.0.1:{port}"
    try:
        while True:
            assert process.poll() is None, (folder / "log").read_text()
            try:
                urlopen(f"{address}/health")
                break
            except OSError:
                continue
        yield address, folder
    finally:
        os.killpg(process.pid, signal.SIGTERM)  # the server, and its worker
        process.wait()


def test_runs_are_replaced_again_and_again_and_artifacts_go_with_them(
    params: Params,
    root: Path,
    server: tuple[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    address, folder = server
    target = Target(address, "", tmp_path)

    def sync(clone: str) -> dict[str, int]:
        changes = synchronize(experiments(params, root), Tracker(connect(target), clone))
        assert changes.kept_artifacts == []
        return {what: number for what, number in changes.counts.items() if number}

    def files() -> int:
        return len([path for path in (folder / "artifacts").rglob("*") if path.is_file()])

    assert sync("theirs") == {"added": 12}
    once = files()
    assert sync("mine") == {"added": 12}
    assert files() == 2 * once
    store = board_store(root, "small")
    cell = unstructured(params, "magnitude", 0, 0.94, 0.5)
    for seconds in (8.0, 9.0):
        store.write(replace(cell, train_seconds=seconds))
        assert sync("mine") == {"replaced": 2, "unchanged": 10}
        assert files() == 2 * once, "the old artifacts are deleted on the server"
    store.path(cell.spec).unlink()
    assert sync("mine")["deleted"] == 1
    assert files() == 2 * once - 3
    assert sync("mine") == {"unchanged": 11}
    kept: list[Any] = Tracker(connect(target), "theirs").runs("theirs")
    assert len(kept) == 12
    assert not (tmp_path / "mlruns").exists()
    assert capsys.readouterr().out == "", "stdout is for the output of the command"
