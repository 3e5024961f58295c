"""Columns of the tables that people read, and those that several tables share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Generic, TypeVar

from pipelines.report.analysis.stats import Estimate
from pipelines.report.tables.text import MISSING, percent, points, target

R = TypeVar("R")


@dataclass(frozen=True)
class Column(Generic[R]):
    """One column of the tables that people read.

    Parameters
    ----------
    title, help
        Heading, and what it means.
    text
        Cell as text.
    value
        Cell as a number to sort by, or text.
    optional
        Whether a table in which no row has a value goes without the column.
    words
        Whether cells are words, which stand on the left and may take several lines.
    """

    title: str
    help: str
    text: Callable[[R], str]
    value: Callable[[R], Any]
    optional: bool = False
    words: bool = False


def plus_minus(found: Estimate | None, mean: Callable[[float], str] = percent) -> str:
    """A mean and its half-width, in percent or percentage points."""
    if found is None:
        return MISSING
    half = found.half_width
    return mean(found.mean) + (f" ± {percent(half)}" if half is not None else "")


def estimated(
    title: str,
    meaning: str,
    get: Callable[[R], Estimate | None],
    mean: Callable[[float], str] = percent,
    *,
    optional: bool = False,
) -> Column[R]:
    """Column of an estimate; sorted by its mean."""

    def value(row: R) -> float | None:
        found = get(row)
        return found.mean if found else None

    return Column(title, meaning, lambda row: plus_minus(get(row), mean), value, optional)


def gain(title: str, over: str, whom: str, *, optional: bool = True) -> Column[Any]:
    """Column of a difference that is paired by seed, ``gain_over_...`` of the row."""
    meaning = f"Accuracy less that of {whom}, in points, paired by seed, ± half-width."
    get = attrgetter(f"gain_over_{over}")
    return estimated(title, meaning, get, points, optional=optional)


METHOD: Column[Any] = Column(
    "method", "Name in dpap-bench list.", lambda r: r.method, lambda r: r.method
)
TARGET: Column[Any] = Column(
    "target",
    "Density asked for; emergent: the method found its own; as X: that which X found.",
    lambda r: MISSING if r.is_reference else target(r.target),
    lambda r: r.target,
)
