"""The format AEDAT 3.1."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.common.errors import BenchError
from pipelines.data.sets.aedat3 import read_aedat3
from tests.helpers.event_files import HEADER, packet


def test_the_format_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "a.aedat"
    path.write_bytes(
        HEADER + packet((7, 127, 3, 1), (5, 0, 126, 0)) + packet((2, 1, 2, 1), overflow=1)
    )
    events = read_aedat3(path)
    assert [tuple(event) for event in events.tolist()] == [
        (5, 0, 126, False),
        (7, 127, 3, True),
        (2**31 + 2, 1, 2, True),
    ]
    path.write_bytes(HEADER)
    assert len(read_aedat3(path)) == 0


@pytest.mark.parametrize("cut", [1, 9, 17, 40])
def test_a_truncated_recording(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "a.aedat"
    path.write_bytes((HEADER + packet((7, 1, 3, 1), (8, 0, 1, 0)))[:-cut])
    with pytest.raises(BenchError, match=r"a\.aedat is truncated"):
        read_aedat3(path)


def test_other_formats(tmp_path: Path) -> None:
    path = tmp_path / "a.aedat"
    for content in (b"", b"#!AER-DAT2.0\r\n", b"#!AER-DAT3.1\r\n#no end", b"junk"):
        path.write_bytes(content)
        with pytest.raises(BenchError, match="not in the format AEDAT 3"):
            read_aedat3(path)
    with pytest.raises(BenchError, match="cannot be read"):
        read_aedat3(tmp_path / "b.aedat")
