"""The learning-rate schedule of a recipe, and its restarts."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise

from pipelines.settings.workload import Recipe


def learning_rate(recipe: Recipe, progress: float) -> float:
    """Return the learning rate: a linear warm-up, then the recipe's schedule.

    Parameters
    ----------
    recipe
        The recipe.
    progress
        Spent fraction of the budget, in [0, 1].
    """
    peak = recipe.learning_rate
    floor = min(recipe.floor, peak)
    if progress < recipe.warmup:
        return peak * progress / recipe.warmup
    if recipe.schedule == "step":
        # 1e-9: in floating point, 0.3 / 0.1 is a little less than 3.
        steps = math.floor(progress / recipe.step_every + 1e-9)
        return max(peak * recipe.step_factor**steps, floor)
    fraction = (progress - recipe.warmup) / (1 - recipe.warmup)
    return floor + (peak - floor) * 0.5 * (1 + math.cos(math.pi * fraction))


@dataclass
class RateSchedule:
    """The recipe's schedule, run once in each span between two restarts.

    Parameters
    ----------
    recipe
        The recipe of the workload.
    restarts
        Progress values in (0, 1), in rising order, at which the schedule restarts.

    Attributes
    ----------
    start
        Progress at which the current span began.
    done
        Number of restarts so far.

    Raises
    ------
    ValueError
        If `restarts` do not rise, or are outside (0, 1).
    """

    recipe: Recipe
    restarts: tuple[float, ...] = ()
    start: float = field(default=0.0, init=False)
    done: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        edges = (0.0, *self.restarts, 1.0)
        if any(earlier >= later for earlier, later in pairwise(edges)):
            raise ValueError(f"restarts must rise between 0 and 1, but are {self.restarts}")

    def rate(self, progress: float) -> float:
        """Return the learning rate at a progress; that of the span's end if it is past the end."""
        end = (*self.restarts, 1.0)[self.done]
        fraction = (progress - self.start) / (end - self.start) if progress < end else 1.0
        return learning_rate(self.recipe, fraction)

    def restart(self, progress: float) -> bool:
        """Begin the next span if `progress` has reached it; return whether it did."""
        reached = sum(restart <= progress for restart in self.restarts)
        if reached == self.done:
            return False
        self.start, self.done = progress, reached
        return True
