"""Search spaces of hyper-parameter tuning, as written in params.yaml and methods.yaml."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Range(BaseModel):
    """An interval of numbers; of integers if the hyper-parameter is an integer.

    Parameters
    ----------
    low, high
        The bounds; both can be chosen.
    log
        Whether to search on a logarithmic scale.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    low: float
    high: float
    log: bool = False

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low {self.low:g} must be less than high {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"low {self.low:g} must be positive where log is true")
        return self

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int | float) and self.low <= value <= self.high


class Choices(BaseModel):
    """A list of values.

    Parameters
    ----------
    choices
        The values, two at least.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    choices: tuple[Any, ...] = Field(min_length=2)

    def __contains__(self, value: object) -> bool:
        return value in self.choices


Space = dict[str, Range | Choices]


class Tuning(BaseModel):
    """How methods are tuned; it is the same for all methods.

    Parameters
    ----------
    workloads
        Names of the workloads that trials train: one for each kind of network.
    density
        Target density of a trial.
    settings
        Number of settings that a search begins with; the first is the default of the method.
    rungs
        Numbers of seeds, rising. All settings are run with the first number of seeds, the better
        half of them with the second number, and so on.
    search_seeds
        Seeds of the search, as many as the last rung has. No board may have one of these seeds.
    confirmation_seeds
        Seeds on which the setting that was found is compared with the default. Neither the search
        nor a board may have one of these seeds.
    spaces
        Method -> hyper-parameter -> the values that tuning may choose; from methods.yaml.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    workloads: tuple[str, ...] = Field(min_length=1)
    density: float = Field(gt=0, le=1)
    settings: int = Field(ge=2)
    rungs: tuple[int, ...] = Field(min_length=1)
    search_seeds: tuple[int, ...] = Field(min_length=1)
    confirmation_seeds: tuple[int, ...] = Field(min_length=2)
    spaces: dict[str, Space] = Field(default_factory=dict)

    @property
    def seeds(self) -> tuple[int, ...]:
        """All seeds of trials."""
        return self.search_seeds + self.confirmation_seeds

    @property
    def runs(self) -> int:
        """Largest number of runs of one study: the search, and two settings to confirm it."""
        left, before, runs = self.settings, 0, 2 * len(self.confirmation_seeds)
        for seeds in self.rungs:
            runs += left * (seeds - before)
            left, before = (left + 1) // 2, seeds
        return runs

    @model_validator(mode="after")
    def _seeds_are_distinct(self) -> Self:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("a seed is there twice; the search and its confirmation share none")
        rises = all(one < other for one, other in pairwise((0, *self.rungs)))
        if not rises or self.rungs[-1] != len(self.search_seeds):
            raise ValueError(
                f"rungs {list(self.rungs)} must rise to the number of search_seeds, "
                f"{len(self.search_seeds)}"
            )
        return self
