"""A table that people read: its columns and rows, in any format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

R = TypeVar("R")


@dataclass(frozen=True)
class Column(Generic[R]):
    """One column of a table.

    Parameters
    ----------
    title, help
        Heading, and what it means.
    text
        Cell as text.
    value
        Cell as a number or text to sort by; None if it is missing.
    optional
        Whether the column is left out if no row has a value.
    words
        Whether cells are words: aligned to the left, on several lines if needed.
    """

    title: str
    help: str
    text: Callable[[R], str]
    value: Callable[[R], Any]
    optional: bool = False
    words: bool = False


@dataclass(frozen=True)
class Table:
    """Rows that may be compared: one workload, one track, one granularity, and the reference.

    Parameters
    ----------
    workload, track, granularity
        What the rows have in common; they are the title.
    rows
        Objects of any type with the attributes `method` and `is_reference`.
    columns
        Columns of these rows.
    note
        What the rows are, and what may be concluded from them.
    missing
        How many cells of the table have no record; empty if none.
    """

    workload: str
    track: str
    granularity: str
    rows: tuple[Any, ...]
    columns: tuple[Column[Any], ...]
    note: str
    missing: str = ""

    @property
    def title(self) -> str:
        """Heading."""
        return f"{self.workload}, {self.granularity}, {self.track}"
