"""Conversion of records to the present form."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipelines.audit.conversion import convert
from pipelines.audit.seal import broken_seals, seal_folder
from pipelines.common.errors import BenchError
from pipelines.records.files import is_present_form, read_record
from tests.helpers.paths import ROOT

OLD = ROOT / "tests" / "pipelines" / "records" / "versions"


def test_old_records_are_converted_and_sealed_again(tmp_path: Path) -> None:
    folder = tmp_path / "records"
    shutil.copytree(OLD, folder)
    seal_folder(folder)
    before = {path.name: read_record(path) for path in folder.glob("*.json")}
    assert convert(folder) == (len(before), len(before))
    assert {path.name: read_record(path) for path in folder.glob("*.json")} == before
    assert all(is_present_form(path) for path in folder.glob("*.json"))
    assert list(broken_seals(folder)) == []
    assert convert(folder) == (0, len(before)), "a second call changes nothing"


def test_an_edited_folder_is_not_converted(tmp_path: Path) -> None:
    folder = tmp_path / "records"
    shutil.copytree(OLD, folder)
    seal_folder(folder)
    edited = folder / "1.json"
    edited.write_text(edited.read_text() + "\n")
    with pytest.raises(BenchError, match=r"sealed in SHA256SUMS.* Nothing was converted"):
        convert(folder)
    assert not is_present_form(folder / "2.json")
