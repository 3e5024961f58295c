"""The id of a clone: random, kept, and not shared by copies."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipelines.common.errors import BenchError
from pipelines.report.tracking.clone import Clone, find_clone


def test_an_id_is_made_once(tmp_path: Path) -> None:
    one, other = find_clone(tmp_path / "one"), find_clone(tmp_path / "other")
    assert one.id != other.id
    assert find_clone(tmp_path / "one") == one
    assert one.copied == ""


def test_a_moved_folder_keeps_its_id(tmp_path: Path) -> None:
    one = find_clone(tmp_path / "one")
    (tmp_path / "one").rename(tmp_path / "moved")
    assert find_clone(tmp_path / "moved") == one


def test_a_copied_folder_gets_an_id_of_its_own(tmp_path: Path) -> None:
    one = find_clone(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "copy")
    copy = find_clone(tmp_path / "copy")
    assert copy.id != one.id
    assert copy.copied == one.id
    assert find_clone(tmp_path / "copy") == Clone(copy.id), "it is told once"
    assert find_clone(tmp_path / "one") == one


def test_a_folder_that_was_restored_in_place_keeps_its_id(tmp_path: Path) -> None:
    one = find_clone(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "backup")
    shutil.rmtree(tmp_path / "one")
    shutil.copytree(tmp_path / "backup", tmp_path / "one")
    assert find_clone(tmp_path / "one") == one


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    find_clone(tmp_path)
    (tmp_path / "results" / "local" / "clone").write_text("{")
    with pytest.raises(BenchError, match="delete it"):
        find_clone(tmp_path)
