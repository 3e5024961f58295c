"""Edits of params.yaml: no other byte of the file changes."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest
import yaml

from pipelines.authoring.params_file import add_entry, set_options
from pipelines.boards.params import Params
from pipelines.common.errors import BenchError

TEXT = """\
# A comment.
methods:
  dense: {}
  one: # why
    a: 1 # first
    b: [1, 2]   # odd spaces

    c: text
  # About two.
  two: &two # shared
    a: 0.5
  three: *two
  four: { a: 1, b: { c: 2 } }

# After the methods.
tuning:
  spaces:
    one:
      a: { low: 0, high: 3 }
    two: # alone
      a: { choices: [0.5, 1.0] } # at the end
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text(TEXT)
    return path


def changes(path: Path, before: str = TEXT) -> list[str]:
    """Removed and added lines."""
    lines = difflib.ndiff(before.splitlines(), path.read_text().splitlines())
    return [line for line in lines if line[0] in "+-"]


def test_an_entry_is_appended(file: Path) -> None:
    add_entry(file, ["methods"], "five", {"a": 0.1, "b": "global"})
    assert changes(file) == ["+   five:", "+     a: 0.1", "+     b: global"]
    assert list(yaml.safe_load(file.read_text())["methods"])[-2:] == ["four", "five"]
    lines = file.read_text().splitlines()
    assert lines[lines.index("  five:") - 1].startswith("  four:")
    text = file.read_text()
    add_entry(file, ["tuning", "spaces"], "five", {"a": {"low": 0.0, "high": 1.0}})
    assert changes(file, text) == ["+     five:", "+       a: {low: 0.0, high: 1.0}"]
    assert file.read_text().endswith("high: 1.0}\n")


def test_options_are_replaced_in_place(file: Path) -> None:
    set_options(file, "one", {"a": 2, "c": "x: y"}, "trial 1, validation 97.2 %")
    assert changes(file) == [
        "-   one: # why",
        "+   one: # why # tuned: trial 1, validation 97.2 %",
        "-     a: 1 # first",
        "+     a: 2 # first",
        "-     c: text",
        "+     c: 'x: y'",
    ]
    text = file.read_text()
    set_options(file, "one", {"a": 2}, "trial 2")
    assert changes(file, text)[1:] == ["+   one: # why # tuned: trial 2"]


def test_options_on_one_line(file: Path) -> None:
    set_options(file, "four", {"a": 2}, "x")
    assert changes(file)[1:] == ["+   four: { a: 2, b: { c: 2 } } # tuned: x"]
    set_options(file, "dense", {}, "y")
    assert "  dense: {} # tuned: y\n" in file.read_text()


@pytest.mark.parametrize("name", ["two", "three"])
def test_aliased_options_become_copies(file: Path, name: str) -> None:
    set_options(file, name, {"a": 1.5}, "x")
    methods = yaml.safe_load(file.read_text())["methods"]
    assert [methods["two"]["a"], methods["three"]["a"]] == [
        1.5 if n == name else 0.5 for n in ("two", "three")
    ]
    line = {"two": "  two: &two # shared # tuned: x\n", "three": "  three: # tuned: x\n"}
    assert line[name] in file.read_text()


def test_a_file_that_cannot_be_edited_is_not_changed(file: Path) -> None:
    with pytest.raises(BenchError, match="cannot be edited; edit it by hand"):
        set_options(file, "one", {"new": 1}, "x")
    with pytest.raises(BenchError, match="has no mapping 'boards'; write it by hand"):
        add_entry(file, ["methods", "boards"], "x", {})
    with pytest.raises(BenchError, match="cannot be edited"):
        add_entry(file, ["methods", "dense"], "x", {"a": 1})
    assert file.read_text() == TEXT


def test_params_yaml_of_the_repository_can_be_edited(project: Path, params: Params) -> None:
    path = project / "params.yaml"
    before = path.read_text()
    add_entry(path, ["methods"], "new", {"a": 1})
    assert len(changes(path, before)) == 2
    for name, options in params.methods.items():
        set_options(path, name, options, "x")
    found = yaml.safe_load(path.read_text())["methods"]
    assert found == params.methods | {"new": {"a": 1}}
