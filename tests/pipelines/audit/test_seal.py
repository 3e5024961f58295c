"""Seals: they show which records were edited, removed or added."""

from __future__ import annotations

import json
import re
from pathlib import Path

from pipelines.audit.seal import SEAL
from pipelines.records.files import PROVENANCE
from tests.helpers.tampering import first, found


def test_a_seal_lists_each_record_once(folder: Path) -> None:
    lines = (folder / SEAL).read_text().splitlines()
    assert all(re.fullmatch(r"[0-9a-f]{64}  \S+\.(json|provenance)", line) for line in lines)
    assert len(lines) == 4, "two records, each of two files"


def test_edited_removed_and_added_records_are_found(folder: Path) -> None:
    path = first(folder)
    text = path.read_text()
    accuracy = json.loads(text)["outcome"]["test_accuracy"]
    path.write_text(text.replace(f'"test_accuracy": {accuracy}', '"test_accuracy": 0.999'))
    assert path.read_text() != text
    assert "was changed after it was sealed" in found(folder)
    path.write_text(text)
    times = path.with_suffix(PROVENANCE)
    clock = times.read_text()
    times.write_text(clock.replace('"train_seconds": ', '"train_seconds": 0'))
    assert "was changed after it was sealed" in found(folder)
    times.write_text(clock)
    path.unlink()
    assert "but the file is gone" in found(folder)
    (folder / "other.json").write_text(text)
    assert "is not in SHA256SUMS" in found(folder)
    assert "is in the wrong place" in found(folder)


def test_a_seal_without_hashes_is_a_fault(folder: Path) -> None:
    (folder / SEAL).write_text("nonsense\n")
    assert "is not in SHA256SUMS" in found(folder)
