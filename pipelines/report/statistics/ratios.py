"""Ratios of costs, paired by seed: geometric means and their intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping

from pipelines.report.statistics.stats import Estimate, estimate


def log_ratio(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Estimate | None:
    """Estimate the mean of log(ours / theirs) over the seeds that both have.

    Its exponential is the geometric mean of the ratios; those of its ends are the interval of it.

    Parameters
    ----------
    ours, theirs
        Seed -> a cost, such as SynOps or seconds.

    Returns
    -------
    Estimate or None
        None without common seeds, or if a cost is not positive.
    """
    pairs = [(ours[seed], theirs[seed]) for seed in sorted(ours) if seed in theirs]
    if any(min(pair) <= 0 for pair in pairs):
        return None
    return estimate([math.log(our / their) for our, their in pairs])
