"""The table of data sets."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from pipelines.common.errors import InputError
from pipelines.data import SOURCES, fetch
from tests.helpers.paths import ROOT


def test_only_evaluation_opens_the_test_split() -> None:
    callers = set()
    for folder in ("baselines", "dpap", "pipelines"):
        for file in (ROOT / folder).rglob("*.py"):
            names = {
                node.id if isinstance(node, ast.Name) else node.attr
                for node in ast.walk(ast.parse(file.read_text()))
                if isinstance(node, ast.Name | ast.Attribute)
            }
            if "load_test" in names:
                callers.add(file.relative_to(ROOT).as_posix())
    assert callers == {"pipelines/training/evaluation.py", "pipelines/data/catalogue.py"}


def test_unknown_data_set() -> None:
    with pytest.raises(InputError, match="did you mean 'digits'"):
        fetch("digit", Path())
    assert set(SOURCES) >= {"digits", "fashion-mnist"}
