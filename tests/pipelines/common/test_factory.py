"""Factories are found in the folder of the project; what fails is one sentence."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pipelines.common.errors import InputError
from pipelines.common.factory import call_factory, project_folder

MODULE = "own_factory_for_tests"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a module, and a working directory below it."""
    (tmp_path / "params.yaml").touch()
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    return tmp_path / f"{MODULE}.py"


def test_a_module_in_the_folder_of_the_project_is_found(module: Path) -> None:
    module.write_text("def twice(n):\n    return 2 * n\n")
    assert call_factory(f"{MODULE}:twice", {"n": 4}) == 8
    assert project_folder() == module.parent


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "has no function 'twice'; correct the name."),
        ("twice = 3", "has no function 'twice'; correct the name."),
        ("import no_such_package", "cannot be imported (ModuleNotFoundError: No module named"),
        ("def twice(n:", "its module cannot be imported (SyntaxError"),
        ("1 / 0", "its module cannot be imported (ZeroDivisionError: division by zero)"),
        ("def twice(n):\n    return n['a']", "fails (TypeError: 'int' object is not"),
    ],
)
def test_what_fails_is_one_sentence(text: str, sentence: str, module: Path) -> None:
    module.write_text(text)
    with pytest.raises(InputError) as refused:
        call_factory(f"{MODULE}:twice", {"n": 4})
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_module_is_named(module: Path) -> None:
    with pytest.raises(InputError, match="there is no module 'no_such_project'; put it into"):
        call_factory("no_such_project.networks:small", {})
