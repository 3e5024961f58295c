"""The file of a new method; test_document_commands.py runs the commands of CONTRIBUTING.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from baselines._template import Template
from pipelines.boards.hyperparameters import read_entries
from pipelines.methods import catalogue
from tests.pipelines.cli.test_main import call


@pytest.fixture
def empty(project: Path) -> Path:
    """A project without methods of its own."""
    (project / "baselines").mkdir()
    return project


@pytest.mark.parametrize(
    ("name", "title", "file"),
    [("my-method", "MyMethod", "my_method.py"), ("growth2", "Growth2", "growth2.py")],
)
def test_a_new_method_is_the_template_with_its_own_name(
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
    added = read_entries(empty)[name]
    assert Template(**added.options) == Template()
    assert added.space.keys() <= added.options.keys()


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
        (("1st",), "'1st' is not a valid name of a method"),
        (("my method",), "'my method' is not a valid name of a method"),
        (("class",), "'class' is not a valid name of a method"),
        (("_hidden",), "'_hidden' is not a valid name of a method"),
        (("../up",), "'../up' is not a valid name of a method"),
        (("magnitude",), "the name 'magnitude' is taken; choose another one."),
        (("dpap_st",), "the name 'dpap_st' is taken; choose another one."),
        (("there",), "the name 'there' is taken; choose another one."),
        (("growth", "--to", "nowhere"), "there is no folder nowhere; make it, or name another"),
    ],
)
def test_a_wrong_name_is_refused_and_nothing_is_written(
    empty: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    sentence: str,
) -> None:
    (empty / "baselines" / "there.py").touch()
    before = (empty / "methods.yaml").read_text()
    assert call(monkeypatch, "new-method", *arguments) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert captured.err.count("\n") == 1
    assert (empty / "methods.yaml").read_text() == before
