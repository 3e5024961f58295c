"""The sources of a process: what it imported, whatever happens on disk afterwards."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.common.imported import content, edition, read, watch

NAME = "watched_by_a_test"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / NAME
    folder.mkdir()
    (folder / "__init__.py").write_text("A = 1\n")
    (folder / "late.py").write_text("B = 1\n")
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == NAME]:
        del sys.modules[name]


def test_a_source_is_what_was_imported(package: Path) -> None:
    watch(NAME)
    first, late = package / "__init__.py", package / "late.py"
    importlib.import_module(NAME)
    first.write_text("A = 2\n")
    assert content(first) == b"A = 1\n"
    assert read(first) == b"A = 2\n"

    assert content(late) == b"B = 1\n", "read from disk, as nobody has imported it"
    before = edition()
    late.write_text("B = 22\n")
    assert content(late) == b"B = 1\n"
    assert importlib.import_module(f"{NAME}.late").B == 22
    assert content(late) == b"B = 22\n", "the import read the file anew"
    assert edition() == before + 1

    late.write_text("B = 333\n")
    assert importlib.reload(sys.modules[f"{NAME}.late"]).B == 333
    assert content(late) == b"B = 333\n"


def test_a_missing_file_has_no_content(tmp_path: Path) -> None:
    assert content(tmp_path / "none.py") is None
    assert read(tmp_path / "none.py") is None
