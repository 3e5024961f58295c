"""The learning rate of a recipe, and methods that let it start anew."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise

from pipelines.settings.workload import Recipe


def learning_rate(recipe: Recipe, progress: float) -> float:
    """Linear warm-up, then the recipe's schedule; `progress` in [0, 1]."""
    peak = recipe.learning_rate
    floor = min(recipe.floor, peak)
    if progress < recipe.warmup:
        return peak * progress / recipe.warmup
    if recipe.schedule == "step":
        steps = math.floor(progress / recipe.step_every + 1e-9)  # 0.3 / 0.1 is less than 3
        return max(peak * recipe.step_factor**steps, floor)
    along = (progress - recipe.warmup) / (1 - recipe.warmup)
    return floor + (peak - floor) * 0.5 * (1 + math.cos(math.pi * along))


@dataclass
class RateSchedule:
    """The recipe's schedule, run once in each span between restarts.

    Parameters
    ----------
    recipe
        The workload's.
    restarts
        Progress values in (0, 1), rising.

    Raises
    ------
    ValueError
        If they are not.
    """

    recipe: Recipe
    restarts: tuple[float, ...] = ()
    start: float = field(default=0.0, init=False)
    done: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        edges = (0.0, *self.restarts, 1.0)
        if any(a >= b for a, b in pairwise(edges)):
            raise ValueError(f"restarts must rise between 0 and 1, not {self.restarts}")

    def rate(self, progress: float) -> float:
        """Learning rate; zero if progress has passed the end of the span."""
        stop = (*self.restarts, 1.0)[self.done]
        along = (progress - self.start) / (stop - self.start) if progress < stop else 1.0
        return learning_rate(self.recipe, along)

    def restart(self, progress: float) -> bool:
        """Begin the next span if progress has reached it, and say so."""
        reached = sum(at <= progress for at in self.restarts)
        if reached == self.done:
            return False
        self.start, self.done = progress, reached
        return True
