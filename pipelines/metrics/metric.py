"""A metric: one figure of a run, and how it is checked, printed and drawn."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pipelines.records.record import RunRecord


@dataclass(frozen=True)
class Axis:
    """The horizontal axis of the page's chart when test accuracy is drawn over a metric.

    Parameters
    ----------
    name
        Option in the list "Accuracy over", and label in the tooltip.
    title
        Title of the axis, with the unit.
    scale
        ``log`` or ``linear``. A logarithmic axis has no place for zero.
    at_targets
        Whether the ticks stand at the target densities.
    """

    name: str
    title: str
    scale: Literal["log", "linear"] = "log"
    at_targets: bool = False


@dataclass(frozen=True)
class Metric:
    """One figure of a run.

    Parameters
    ----------
    name
        Field in JSON and CSV, and metric in MLflow. It ends with the unit, if there is one.
    title, help
        Heading of the column, and what the figure means.
    read
        Returns the figure of a run, or None if the run does not have it. It must not fail on a
        record from somebody else, whatever its numbers are.
    format
        Prints the mean over seeds; `pipelines.metrics.numbers` has the usual formats.
    bounds
        Smallest and largest possible value. `dpap-bench verify` reports a value outside.
    column
        Whether the tables by density have a column for it. JSON, CSV and MLflow have every metric.
    axis
        How the page draws test accuracy over it; None if it does not.
    one_machine
        Whether values of different machines must not be averaged, as of times.
    """

    name: str
    title: str
    help: str
    read: Callable[[RunRecord], float | None]
    format: Callable[[float | None], str]
    bounds: tuple[float, float] = (0.0, math.inf)
    column: bool = True
    axis: Axis | None = None
    one_machine: bool = False
