"""Curve and trajectory as columns, which take a fraction of the space of one object per point."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any

from msgspec import field

from pipelines.common.structs import Count, Share, Struct
from pipelines.records.outcome import EpochPoint
from pipelines.records.trajectory import Moment, Trajectory


class CurveColumns(Struct, frozen=True, kw_only=True):
    """The curve of a run without its times: one column for each field of `EpochPoint`."""

    samples: list[Count] = field(default_factory=list)
    train_loss: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    density: list[float] = field(default_factory=list)
    firing_rate: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, curve: Sequence[EpochPoint]) -> CurveColumns:
        """Return the columns of a curve."""
        return cls(**{name: [getattr(point, name) for point in curve] for name in _CURVE})

    def points(self, seconds: Iterable[float | None] = repeat(None)) -> list[EpochPoint]:
        """Return the curve.

        Parameters
        ----------
        seconds
            Training time at each epoch; None where it is not known.

        Raises
        ------
        ValueError
            If the columns differ in length.
        """
        columns = [getattr(self, name) for name in _CURVE]
        rows = zip(*columns, strict=True)
        return [
            EpochPoint(**dict(zip(_CURVE, row, strict=True)), seconds=time)
            for row, time in zip(rows, seconds, strict=False)
        ]


_CURVE = CurveColumns.__struct_fields__

#: Layer or group -> its number at each moment; None where the moment does not name it.
Column = dict[str, list[Count | None]]


class TrajectoryColumns(Struct, frozen=True, kw_only=True):
    """A trajectory as columns with one entry for each moment; see `Trajectory` and `Moment`.

    Parameters
    ----------
    restarts
        As in `Trajectory`.
    samples
        Samples that were charged at the moment: progress x budget, where this is exact; else the
        progress itself, which is a number below 1 with a fraction.
    units, weights, steps
        Group or layer -> its numbers.
    """

    restarts: list[Share] = field(default_factory=list)
    samples: list[Count | Share] = field(default_factory=list)
    units: Column = field(default_factory=dict)
    weights: Column = field(default_factory=dict)
    steps: Column = field(default_factory=dict)

    @classmethod
    def of(cls, trajectory: Trajectory, budget: int) -> TrajectoryColumns:
        """Return the columns of a trajectory of a run with this budget in samples."""
        moments = trajectory.moments
        return cls(
            restarts=list(trajectory.restarts),
            samples=[_samples(moment.progress, budget) for moment in moments],
            units=_column([moment.units for moment in moments]),
            weights=_column([moment.weights for moment in moments]),
            steps=_column([moment.steps for moment in moments]),
        )

    def trajectory(self, budget: int) -> Trajectory:
        """Return the trajectory.

        Raises
        ------
        ValueError
            If the columns differ in length, or a moment is after the end of the budget.
        """
        count = len(self.samples)
        if max(self.samples, default=0) > budget:
            raise ValueError("a change of the masks is after the end of the budget")
        moments = (
            Moment(progress=progress, units=units, weights=weights, steps=steps)
            for progress, units, weights, steps in zip(
                (n / budget if isinstance(n, int) else n for n in self.samples),
                _named(self.units, count),
                _named(self.weights, count),
                _named(self.steps, count),
                strict=True,
            )
        )
        return Trajectory(restarts=tuple(self.restarts), moments=tuple(moments))


def _samples(progress: float, budget: int) -> int | float:
    samples = round(progress * budget)
    return samples if samples / budget == progress else progress


def _column(changes: Sequence[dict[str, int]]) -> Column:
    names = sorted({name for change in changes for name in change})
    return {name: [change.get(name) for change in changes] for name in names}


def _named(column: Column, count: int) -> list[dict[str, int]]:
    """Return the numbers that each moment names."""
    changes: list[dict[str, Any]] = [{} for _ in range(count)]
    for name, numbers in column.items():
        for change, number in zip(changes, numbers, strict=True):
            if number is not None:
                change[name] = number
    return changes
