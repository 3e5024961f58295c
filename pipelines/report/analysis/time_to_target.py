"""How long a run trains until it is nearly as good as the dense network at its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from pipelines.records.record import RunRecord
from pipelines.report.analysis.stats import Estimate, estimate

#: The target is this share of the dense network's final validation accuracy, mean over seeds.
TARGET_SHARE = 0.98


@dataclass(frozen=True)
class TimeToTarget:
    """When the validation accuracy first reaches the target; curves have one point per epoch.

    Parameters
    ----------
    target
        Validation accuracy in [0, 1].
    reached, runs
        How many runs reach it, of those that are ok.
    samples, seconds
        Training samples charged and training seconds until then; None unless all runs reach it,
        because a mean over those that do would favour a method that often does not. Seconds of
        several machines are None as well.
    """

    target: float
    reached: int
    runs: int
    samples: Estimate | None
    seconds: Estimate | None


def first_epoch(record: RunRecord, accuracy: float) -> int | None:
    """First epoch, from 1, with this validation accuracy; None if there is none."""
    for epoch, point in enumerate(record.curve, start=1):
        if point.validation_accuracy >= accuracy:
            return epoch
    return None


def target_of(dense: Sequence[RunRecord]) -> float | None:
    """Target that the finished runs of the dense network set; None without any."""
    ends = [r.curve[-1].validation_accuracy for r in dense if r.status == "ok" and r.curve]
    return TARGET_SHARE * fmean(ends) if ends else None


def time_to_target(
    records: Sequence[RunRecord], target: float | None, one_machine: bool
) -> TimeToTarget | None:
    """Time of the runs of one row, all of them ok; None without runs or target."""
    if target is None or not records:
        return None
    epochs = [first_epoch(record, target) for record in records]
    points = [r.curve[epoch - 1] for r, epoch in zip(records, epochs, strict=True) if epoch]
    all_reach = len(points) == len(records)
    return TimeToTarget(
        target=target,
        reached=len(points),
        runs=len(records),
        samples=estimate([float(p.samples) for p in points]) if all_reach else None,
        seconds=estimate([p.seconds for p in points]) if all_reach and one_machine else None,
    )
