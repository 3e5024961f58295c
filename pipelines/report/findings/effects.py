"""Effects: differences of accuracy, ratios of costs and plain values, with their intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from pipelines.metrics.metric import Metric
from pipelines.metrics.numbers import percent, points
from pipelines.report.analysis.rows import RANKED
from pipelines.report.statistics.stats import Estimate, p_value

#: How an estimate is to be read: a difference of accuracies, the logarithm of a ratio, or a value.
Scale = Literal["points", "ratio", "value"]


@dataclass(frozen=True)
class Effect:
    """One estimated quantity.

    Parameters
    ----------
    estimate
        Of the difference of two accuracies in [-1, 1], of the logarithm of a ratio, or of a value.
    scale
        Which of these it is.
    metric
        Prints a value; None for the other scales.
    """

    estimate: Estimate
    scale: Scale
    metric: Metric | None = None

    @property
    def ranked(self) -> bool:
        """Whether it has the seeds that a sentence about a direction needs."""
        return self.estimate.seeds >= RANKED

    @property
    def ends(self) -> tuple[float, float]:
        """Ends of the 95 % interval, in the unit of the estimate; equal for one seed."""
        half = self.estimate.half_width or 0.0
        return self.estimate.mean - half, self.estimate.mean + half

    def p(self, bound: float = 0.0) -> float:
        """Two-sided p of the test that the estimate is `bound`, in the unit of the estimate.

        Accuracies that are equal for all seeds count as no evidence, because they come in steps
        (`p_value`). Costs do not: equal costs of all seeds are exact.
        """
        if self.scale != "points" and self.estimate.seed_error == 0:
            return float(self.estimate.mean == bound)
        return p_value(replace(self.estimate, mean=self.estimate.mean - bound))

    @property
    def text(self) -> str:
        """The mean and its interval; the interval alone with fewer than five seeds."""
        if not self.ranked:
            return self.interval
        if self.scale == "points":
            return f"{points(self.estimate.mean)} ± {percent(self.estimate.half_width)}"
        return f"{self.number(self.estimate.mean)} ({self.interval})"

    @property
    def interval(self) -> str:
        """Both ends of the interval; a single seed has none."""
        if self.estimate.half_width is None:
            return "one seed"
        low, high = (self.number(end) for end in self.ends)
        return f"{low.removesuffix(' %')} to {high}"

    def number(self, estimate: float) -> str:
        """Print a number that is in the unit of the estimate."""
        if self.scale == "ratio":
            return f"{percent(math.exp(estimate), 1)} %"
        if self.metric is not None:
            return self.metric.format(estimate)
        return points(estimate)
