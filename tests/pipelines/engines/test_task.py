"""Cells of plug-ins run in processes of their own; the workers of a machine fetch data in turn."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from pipelines.common.errors import BenchError
from pipelines.engines import task
from pipelines.settings.spec import RunSpec
from tests.helpers.paths import ROOT
from tools.faults import HOSTILE, Project, write_plugin


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_hostile_plug_in_fails_alone(tmp_path: Path, workers: int) -> None:
    write_plugin(tmp_path / "plugin")
    project = Project(tmp_path / "home", paths=(tmp_path / "plugin",))
    project.make(*HOSTILE)
    command = [sys.executable, "-m", "pipelines.cli.main", "sweep", "--json"]
    done = subprocess.run(
        [*command, "--workers", str(workers)],
        cwd=project.home,
        env=os.environ | project.variables | {"PYTHONPATH": f"{tmp_path / 'plugin'}:{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    assert found["statuses"]["failed"] == 3 * len(HOSTILE)
    assert found["statuses"].get("ok", 0) + found["statuses"]["failed"] == found["run"]
    assert "plug-in hostile.broken:Broken is left out (SystemExit: 0)" in done.stderr
    assert "leaves unstructured density 0.5 seed 0: the method ended its process" in done.stderr


TURNS = 10


def _fetch_in_turn(spec: RunSpec, root: Path, start: Barrier) -> None:
    """Fetch again and again; a folder says that a process is about to."""

    def fetch(name: str, folder: Path) -> Path:
        (folder / "fetching").mkdir()  # fails if another process is fetching
        for number in range(10):
            (folder / str(number)).write_bytes(bytes(1000))
        (folder / "fetching").rmdir()
        raise BenchError("fetched")

    task.fetch = fetch
    start.wait()
    for _ in range(TURNS):
        with pytest.raises(BenchError, match="fetched"):
            task.compute(task.Task(spec, root, root / "records", "", fetches=True))


def test_workers_of_one_machine_fetch_data_one_after_another(
    cells: list[RunSpec], tmp_path: Path
) -> None:
    context = multiprocessing.get_context("forkserver")
    start = context.Barrier(2)
    both = [
        context.Process(target=_fetch_in_turn, args=(cells[0], tmp_path, start)) for _ in range(2)
    ]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert [one.exitcode for one in both] == [0, 0]
