"""The ATIS format and archives of atis."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.common.errors import BenchError
from pipelines.data.events import EVENT, Binning
from pipelines.data.sets import atis
from pipelines.data.sets.atis import decode, encode
from tests.helpers.event_files import events_of


def test_the_format_is_that_of_n_mnist() -> None:
    # x = 3, y = 5, brighter, t = 0x012345: polarity shares its byte with the time's upper bits
    assert encode(events_of((0x012345, 3, 5, 1))) == bytes([3, 5, 0x81, 0x23, 0x45])
    (event,) = decode(bytes([33, 0, 0x7F, 0xFF, 0xFF]), "a.bin")
    assert event.tolist() == (2**23 - 1, 33, 0, False)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2**23 - 1), st.integers(0, 255), st.integers(0, 255), st.booleans()
        )
    )
)
def test_what_is_written_is_read(rows: list[tuple[int, int, int, bool]]) -> None:
    events = np.array(sorted(rows), EVENT)
    assert (decode(encode(events), "a.bin") == events).all()


def test_what_does_not_fit_the_format() -> None:
    for row in ((2**23, 0, 0, 1), (0, 256, 0, 1), (0, 0, -1, 1)):
        with pytest.raises(ValueError, match="must be in"):
            encode(events_of(row))
    with pytest.raises(BenchError, match=r"a\.bin is truncated: 7 bytes"):
        decode(bytes(7), "a.bin")
    late_first = encode(events_of((9, 0, 0, 1))) + encode(events_of((8, 0, 0, 1)))
    with pytest.raises(BenchError, match="times decrease"):
        decode(late_first, "a.bin")


def test_overflows_of_a_sensor() -> None:
    rows = ((8000, 1, 2, 1), (8190, 0, 240, 0), (5, 3, 4, 0), (9, 0, 240, 0), (7, 5, 6, 1))
    raw = encode(np.concatenate([events_of(row) for row in sorted(rows)]))
    pieces = [encode(events_of(row)) for row in rows]
    read = decode(b"".join(pieces), "a.bin", sensor=True)
    assert [tuple(e) for e in read.tolist()] == [
        (8000, 1, 2, True),
        (5 + 8192, 3, 4, False),
        (7 + 2 * 8192, 5, 6, True),
    ]
    assert 240 in decode(raw, "a.bin")["y"], "without a sensor it is a row like others"
    with pytest.raises(BenchError, match="truncated"):
        decode(pieces[0][:-1], "a.bin", sensor=True)


BINNING = Binning(3)


def test_other_names_in_an_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("shoe/first.bin", b"")
    with pytest.raises(BenchError, match=r"'shoe/first\.bin' is not named LABEL/NUMBER\.bin"):
        atis.read_frames(tmp_path / "a.zip", BINNING, 2, 2)
    with pytest.raises(BenchError, match=r"cannot read .*b\.zip as"):
        atis.read(tmp_path / "b.zip", 0)
