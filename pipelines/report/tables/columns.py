"""Columns that several tables share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from operator import attrgetter
from typing import Any

from pipelines.metrics.metric import Metric
from pipelines.metrics.numbers import MISSING, percent, points, target
from pipelines.report.analysis.rows import RANKED, Row
from pipelines.report.formats.table import Column, R
from pipelines.report.statistics.stats import Estimate


def metric_column(metric: Metric) -> Column[Row]:
    """Column of the mean of a metric."""

    def value(row: Row) -> float | None:
        return row.means[metric.name]

    return Column(
        metric.title, metric.help, lambda row: metric.format(value(row)), value, optional=True
    )


def plus_minus(found: Estimate | None, mean: Callable[[float], str] = percent) -> str:
    """Print a mean and its half-width, in percent or percentage points."""
    if found is None:
        return MISSING
    half = found.half_width
    return mean(found.mean) + (f" ± {percent(half)}" if half is not None else "")


def signed(found: Estimate | None) -> str:
    """Print a difference in points, ± half-width.

    With fewer than five seeds a difference says nothing about a direction, so its interval is
    printed alone; one seed has none.
    """
    if found is not None and found.seeds >= RANKED:
        return plus_minus(found, points)
    if found is None or found.half_width is None:
        return MISSING
    return f"{points(found.mean - found.half_width)} to {points(found.mean + found.half_width)}"


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


#: Title of the gain over the shuffled control, whose field in JSON is ``gain_over_shuffled``.
SAME_ALLOCATION = "over same allocation"


def compared(
    title: str, meaning: str, get: Callable[[R], Estimate | None], *, optional: bool = False
) -> Column[R]:
    """Column of a difference of accuracies in points, paired by seed and test sample."""
    few = f"With fewer than {RANKED} seeds: the interval alone."
    column = estimated(title, f"{meaning} {few}", get, points, optional=optional)
    return replace(column, text=lambda row: signed(get(row)))


def gain(title: str, over: str, whom: str, *, optional: bool = True) -> Column[Any]:
    """Column of the attribute ``gain_over_...`` of a row, a difference paired by seed."""
    meaning = f"Accuracy minus that of {whom}, in points, paired by seed, ± half-width."
    return compared(title, meaning, attrgetter(f"gain_over_{over}"), optional=optional)


def of_layers(
    title: str,
    meaning: str,
    get: Callable[[Row], dict[str, float]],
    print_one: Callable[[float], str],
) -> Column[Row]:
    """Column with one figure for each layer; sorted by the smallest."""

    def text(row: Row) -> str:
        return " / ".join(map(print_one, get(row).values())) or MISSING

    def value(row: Row) -> float | None:
        return min(get(row).values(), default=None)

    return Column(title, meaning, text, value, optional=True, words=True)


METHOD: Column[Any] = Column(
    "method", "Name in dpap-bench list.", lambda r: r.method, lambda r: r.method
)
RANK: Column[Any] = Column(
    "rank",
    "1 + the number of better rows at the same target that a corrected test separates from "
    "this row. Rows that are not separated share a rank.",
    lambda row: MISSING if row.rank is None else str(row.rank),
    lambda row: row.rank,
    optional=True,
)
TARGET: Column[Any] = Column(
    "target",
    "Requested density. emergent: the method found its own density. as X: the density that method "
    "X found.",
    lambda r: MISSING if r.is_reference else target(r.target),
    lambda r: r.target,
)
