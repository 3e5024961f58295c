"""The command ``canaries``: what it refuses, and what it says of a changed constant."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.cli.main import app
from pipelines.common.errors import BenchError, InputError
from tests.helpers.mutation import PACKAGES
from tests.helpers.paths import ROOT


def call(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["canaries", *arguments], catch_exceptions=False)
    return done.output


def test_impossible_requests_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(InputError, match="leave --method out"):
        call("--accept", "--method", "lamp")
    with pytest.raises(InputError, match="either --accept or --add-environment"):
        call("--accept", "--add-environment")
    with pytest.raises(InputError, match="unknown method with canaries 'lampp'"):
        call("--method", "lampp")


def test_another_project_is_refused(project: Path) -> None:
    with pytest.raises(BenchError, match=r"the canaries belong to the code in .* change into"):
        call()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the packages and settings."""
    for name in PACKAGES:
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignore)
    for name in ("params.yaml", "methods.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def python(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=tree,
        capture_output=True,
        text=True,
        check=False,
    )


REFERENCE = """
from pathlib import Path
from pipelines.canaries.acceptance import add_environment
from pipelines.canaries.cells import all_canaries
from pipelines.canaries.reference import here
from pipelines.canaries.runs import compute
from pipelines.records.digest import code_now
own = [one for one in all_canaries() if one.of_method and one.spec.method == "firing_rate"]
results = {one.name: result for one, result in compute(own, Path("data"), 1)}
add_environment(Path("."), here(), own, results, code_now(), lambda: [])
"""


@pytest.mark.slow
def test_a_changed_constant_of_a_method_makes_its_canaries_differ(tree: Path) -> None:
    made = python(tree, "-c", REFERENCE)
    assert made.returncode == 0, made.stderr
    command = ("-m", "pipelines.cli.main", "canaries", "--method", "firing-rate")
    again = python(tree, *command)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "every bit of an outcome must be equal" in again.stdout
    file = tree / "baselines" / "firing_rate.py"
    text = file.read_text()
    assert "momentum: float = 0.9" in text
    file.write_text(text.replace("momentum: float = 0.9", "momentum: float = 0.3"))
    moved = python(tree, *command)
    assert moved.returncode == 1
    assert "  firing_rate structured: differs in " in moved.stdout
    assert "these are evidence for: " in moved.stdout
    assert "say in CHANGELOG.md what moved" in moved.stderr
