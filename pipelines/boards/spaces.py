"""Search spaces of hyper-parameter tuning, as written in params.yaml and methods.yaml."""

from __future__ import annotations

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

    model_config = ConfigDict(extra="forbid", frozen=True)

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

    model_config = ConfigDict(extra="forbid", frozen=True)

    choices: tuple[Any, ...] = Field(min_length=2)

    def __contains__(self, value: object) -> bool:
        return value in self.choices


Space = dict[str, Range | Choices]


class Tuning(BaseModel):
    """How methods are tuned; it is the same for all methods.

    Parameters
    ----------
    workload
        Name of the workload that a trial trains.
    density
        Target density of a trial.
    trials
        Number of trials of each method; the first has the present hyper-parameters.
    seeds
        Seeds of a trial; its score is the mean over them. No board may have one of these seeds.
    spaces
        Method -> hyper-parameter -> the values that tuning may choose; from methods.yaml.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    workload: str
    density: float = Field(gt=0, le=1)
    trials: int = Field(ge=1)
    seeds: tuple[int, ...] = Field(min_length=1)
    spaces: dict[str, Space] = Field(default_factory=dict)
