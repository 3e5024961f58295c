"""Aligned columns."""

from __future__ import annotations

from pipelines.common.alignment import align


def test_cells_are_padded_to_the_widest_of_their_column() -> None:
    rows = [("name", "n"), ("b", "1,000")]
    assert align(rows) == [["name", "n    "], ["b   ", "1,000"]]
    assert align(rows, numbers=True) == [["name", "    n"], ["b   ", "1,000"]]
    assert align([]) == []
