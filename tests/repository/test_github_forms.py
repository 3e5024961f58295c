"""Issue forms are valid for GitHub, and the commands in them exist."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.boards.params import Params
from tests.helpers import documents
from tests.helpers.command_rules import Checker
from tests.helpers.paths import ROOT

FOLDER = ROOT / ".github" / "ISSUE_TEMPLATE"
FORMS = sorted(path for path in FOLDER.glob("*.yml") if path.name != "config.yml")
#: Kind of field -> attributes that it must have.
KINDS = {
    "markdown": {"value"},
    "input": {"label"},
    "textarea": {"label"},
    "dropdown": {"label", "options"},
    "checkboxes": {"label", "options"},
}


def texts(value: Any) -> Iterator[str]:
    """Yield all texts in a nested value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)


def test_there_is_a_form_for_each_kind_of_issue() -> None:
    assert [path.stem for path in FORMS] == ["new_method", "new_workload", "wrong_result"]
    assert isinstance(
        yaml.safe_load((FOLDER / "config.yml").read_text())["blank_issues_enabled"], bool
    )


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_a_form_is_well_formed(path: Path) -> None:
    form = yaml.safe_load(path.read_text())
    assert {"name", "description", "body"} <= form.keys()
    for field in form["body"]:
        assert KINDS[field["type"]] <= field["attributes"].keys(), field
    asked = [field for field in form["body"] if field["type"] != "markdown"]
    names = [field["id"] for field in asked]
    assert len(names) == len(set(names))
    assert any(field.get("validations", {}).get("required") for field in asked)


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_the_commands_of_a_form_parse(path: Path, params: Params) -> None:
    checker = Checker(params)
    found = [
        command
        for text in texts(yaml.safe_load(path.read_text()))
        for command in documents.find(path.name, text)
    ]
    assert found
    assert not [fault for command in found if (fault := checker.fault(command))]
