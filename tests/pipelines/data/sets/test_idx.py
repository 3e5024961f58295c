"""The IDX format."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from pipelines.common.errors import BenchError
from pipelines.data.sets.idx import read_idx


def test_truncated_and_foreign_idx_files(tmp_path: Path) -> None:
    path = tmp_path / "file"
    good = struct.pack(">II", 0x801, 3) + b"abc"
    path.write_bytes(good)
    assert read_idx(path).tolist() == [97, 98, 99]
    for content, reason in [
        (good[:-1], "truncated"),
        (good[:6], "truncated"),
        (b"", "not an IDX file"),
        (b"\x89PNG", "not an IDX file"),
    ]:
        path.write_bytes(content)
        with pytest.raises(BenchError, match=reason):
            read_idx(path)
