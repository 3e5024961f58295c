"""Time to target: how long a run trains until it is nearly as accurate as the dense network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from pipelines.records.record import RunRecord
from pipelines.report.statistics.stats import Estimate, estimate

#: The target, as a share of the dense network's final validation accuracy (mean over seeds).
TARGET_SHARE = 0.98


@dataclass(frozen=True)
class TimeToTarget:
    """When the validation accuracy first reaches the target, to the resolution of one epoch.

    Parameters
    ----------
    target
        Validation accuracy in [0, 1].
    reached, runs
        How many runs reach it, and how many are ok.
    samples, seconds
        Training samples charged and training seconds until then. None unless all runs reach the
        target, because a mean over the others would favour a method that often misses it. Seconds
        are also None if the runs come from several machines.
    """

    target: float
    reached: int
    runs: int
    samples: Estimate | None
    seconds: Estimate | None


def first_epoch(record: RunRecord, accuracy: float) -> int | None:
    """First epoch, counted from 1, with at least this validation accuracy, or None."""
    for epoch, point in enumerate(record.curve, start=1):
        if point.validation_accuracy >= accuracy:
            return epoch
    return None


def target_of(dense: Sequence[RunRecord]) -> float | None:
    """Target from the runs of the dense network that are ok; None without any."""
    ends = [r.curve[-1].validation_accuracy for r in dense if r.status == "ok" and r.curve]
    return TARGET_SHARE * fmean(ends) if ends else None


def time_to_target(
    records: Sequence[RunRecord], target: float | None, one_machine: bool
) -> TimeToTarget | None:
    """Time to target of the runs of one row, which must be ok; None without runs or target."""
    if target is None or not records:
        return None
    epochs = [first_epoch(record, target) for record in records]
    points = [r.curve[epoch - 1] for r, epoch in zip(records, epochs, strict=True) if epoch]
    all_reach = len(points) == len(records)
    seconds = [p.seconds for p in points if p.seconds is not None]
    timed = all_reach and one_machine and len(seconds) == len(points)
    return TimeToTarget(
        target=target,
        reached=len(points),
        runs=len(records),
        samples=estimate([float(p.samples) for p in points]) if all_reach else None,
        seconds=estimate(seconds) if timed else None,
    )
