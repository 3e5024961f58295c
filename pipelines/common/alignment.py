"""Aligned columns of text."""

from __future__ import annotations

from collections.abc import Sequence


def align(rows: Sequence[Sequence[str]], *, numbers: bool = False) -> list[list[str]]:
    """Pad the cells of a table to the width of their columns.

    Parameters
    ----------
    rows
        Rows with the same number of cells.
    numbers
        Whether all columns but the first are aligned to the right.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        [
            cell.rjust(width) if numbers and at else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in rows
    ]
