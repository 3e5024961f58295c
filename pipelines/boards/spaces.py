"""What the tuning searches, as written in params.yaml and methods.yaml."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Range(BaseModel):
    """Numbers between two; whole ones where the hyper-parameter is an int.

    Parameters
    ----------
    low, high
        Both can be chosen.
    log
        Whether to search their logarithm.
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
    """Some values."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    choices: tuple[Any, ...] = Field(min_length=2)

    def __contains__(self, value: object) -> bool:
        return value in self.choices


Space = dict[str, Range | Choices]


class Tuning(BaseModel):
    """How methods are tuned: all alike.

    Parameters
    ----------
    workload, density
        What a trial trains.
    trials
        How many each method has, its present setting included.
    seeds
        Of a trial; its score is their mean. No board may have one of them.
    spaces
        Method -> hyper-parameter -> the values that it may have; from methods.yaml.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    workload: str
    density: float = Field(gt=0, le=1)
    trials: int = Field(ge=1)
    seeds: tuple[int, ...] = Field(min_length=1)
    spaces: dict[str, Space] = Field(default_factory=dict)
