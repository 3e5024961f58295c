"""A new method: what CONTRIBUTING.md says is what happens."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from baselines._template import Template
from pipelines.core import catalogue
from tests.test_cli import call

ROOT = Path(__file__).parent.parent


def console(section: str) -> list[str]:
    """Commands of the console blocks in a section of CONTRIBUTING.md."""
    text = (ROOT / "CONTRIBUTING.md").read_text().partition(f"## {section}\n")[2]
    blocks = re.findall(r"```console\n(.*?)```", text.partition("\n## ")[0], re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def test_the_walk_through_adds_a_method(tmp_path: Path) -> None:
    """All of it but make repro, in a copy of the project with tiny networks."""
    for name in ("baselines", "dpap", "pipelines"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    text = (ROOT / "params.yaml").read_text()
    for old, new in [
        ("16C3-MP2-32C3-MP2-64FC", "6C3-MP2-8C3-MP2-12FC"),
        ("epochs: 15", "epochs: 1"),
        ("trials: 12", "trials: 3"),
        ("density: 0.1\n", "density: 0.4\n"),
    ]:
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "params.yaml").write_text(text)
    commands = console("Add a baseline")
    assert [line.split()[1] for line in commands] == ["new-method", "check", "run", "tune", "repro"]
    outputs = []
    for line in commands[:-1]:
        program, *arguments = line.split()
        assert program == "dpap-bench"
        done = subprocess.run(
            [sys.executable, "-m", "pipelines.cli", *arguments],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        # A whole unit of so small a network is coarser than a board allows.
        coarse = arguments[0] == "run" and "off-target" in done.stderr
        assert done.returncode == 0 or coarse, line + done.stdout + done.stderr
        outputs.append(done.stdout)
    assert (tmp_path / "baselines" / "growth.py").exists()
    assert "dpap-bench check growth" in outputs[0]
    assert outputs[1] == "ok     growth (structured, unstructured, hybrid)\n"
    assert "digits-snn growth structured density 0.25" in outputs[2]
    assert outputs[3].startswith("growth: trial ")
    added = yaml.safe_load((tmp_path / "params.yaml").read_text())
    assert list(added["methods"])[-1] == list(added["tuning"]["spaces"])[-1] == "growth"
    assert "  growth: # tuned: trial " in (tmp_path / "params.yaml").read_text()


@pytest.fixture
def empty(project: Path) -> Path:
    (project / "baselines").mkdir()
    return project


@pytest.mark.parametrize(
    ("name", "title", "file"),
    [("my-method", "MyMethod", "my_method.py"), ("growth2", "Growth2", "growth2.py")],
)
def test_a_new_method_is_the_template_under_its_name(
    empty: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    title: str,
    file: str,
) -> None:
    assert call(monkeypatch, "new-method", name) == 0
    assert f"dpap-bench check {name}" in capsys.readouterr().out
    path = empty / "baselines" / file
    (info,) = catalogue._read(path)
    assert info.name == name
    assert info.granularities == Template.info.granularities
    text = path.read_text()
    assert text.startswith(f'"""{title}: ')
    assert f"class {title}(GradualPruner):" in text
    assert "emplate" not in text
    added = yaml.safe_load((empty / "params.yaml").read_text())
    options = added["methods"][name]
    assert Template(**options) == Template()
    assert added["tuning"]["spaces"][name].keys() <= options.keys()


def test_a_new_method_in_a_package_of_its_own(
    empty: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (empty / "own").mkdir()
    assert call(monkeypatch, "new-method", "growth", "--to", "own") == 0
    assert "register it: dpap_bench.methods" in capsys.readouterr().out
    assert (empty / "own" / "growth.py").exists()
    assert not list((empty / "baselines").iterdir())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("1st",), "'1st' is no name for a method; take"),
        (("my method",), "'my method' is no name for a method; take"),
        (("class",), "'class' is no name for a method; take"),
        (("_hidden",), "'_hidden' is no name for a method; take"),
        (("../up",), "'../up' is no name for a method; take"),
        (("magnitude",), "the name 'magnitude' is taken; choose another one."),
        (("dpap_st",), "the name 'dpap_st' is taken; choose another one."),
        (("there",), "the name 'there' is taken; choose another one."),
        (("growth", "--to", "nowhere"), "there is no folder nowhere; make it, or name another"),
    ],
)
def test_names_that_cannot_be(
    empty: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    sentence: str,
) -> None:
    (empty / "baselines" / "there.py").touch()
    before = (empty / "params.yaml").read_text()
    assert call(monkeypatch, "new-method", *arguments) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert captured.err.count("\n") == 1
    assert (empty / "params.yaml").read_text() == before
