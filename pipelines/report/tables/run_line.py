"""One run in one line of text."""

from __future__ import annotations

from pipelines.metrics.numbers import decimal, percent
from pipelines.records.record import RunRecord


def one_line(record: RunRecord) -> str:
    """Print the cell, test accuracy, density, SynOps, MACs and training seconds of a run."""
    what = record.spec.label()
    if record.outcome is None:
        return f"{what}: {record.status} after {decimal(record.total_seconds, 1)} s"
    cost = record.outcome.cost
    spikes = f"SynOps {cost.synops:,.0f}  " if cost.synops else ""
    return (
        f"{what}: accuracy {percent(record.outcome.test_accuracy)} %  density {cost.density:.4f}  "
        f"{spikes}MACs {cost.macs:,}  {decimal(record.train_seconds, 1)} s"
    )
