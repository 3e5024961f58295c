"""Cells of plug-ins run in processes of their own, whatever they do there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

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
