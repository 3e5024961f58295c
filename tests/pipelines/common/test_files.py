"""Atomic writing of files."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.common.errors import BenchError
from pipelines.common.files import atomic_file


def test_full_disk_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    target = tmp_path / "record.json"
    target.write_text("old")
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(BenchError, match="No space left on device"), atomic_file(target) as file:
        file.write(b"new")
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["record.json"]
