"""Numbers and records as people read them."""

from __future__ import annotations

from pipelines.records.record import RunRecord

MISSING = "\u2013"


def percent(share: float | None, digits: int = 2) -> str:
    """A share in [0, 1] as percent."""
    return MISSING if share is None else f"{100 * share:.{digits}f}"


def points(difference: float | None) -> str:
    """A difference of shares in percentage points, with its sign."""
    return MISSING if difference is None else f"{round(100 * difference, 2) + 0.0:+.2f}"


def count(value: float | None) -> str:
    """A count with thousands separators; nothing at all for zero spikes."""
    return MISSING if not value else f"{round(value):,}"


def decimal(value: float | None, digits: int = 2) -> str:
    """A number, or a dash."""
    return MISSING if value is None else f"{value:,.{digits}f}"


def target(density: float | str) -> str:
    """A target density as it is shown."""
    return density if isinstance(density, str) else f"{density:g}"


def one_line(record: RunRecord) -> str:
    """One run in one line: what it was, accuracy, density, SynOps, seconds."""
    what = record.spec.label()
    if record.outcome is None:
        return f"{what}: {record.status} after {record.total_seconds:.1f} s"
    cost = record.outcome.cost
    spikes = f"SynOps {cost.synops:,.0f}  " if cost.synops else ""
    return (
        f"{what}: accuracy {percent(record.outcome.test_accuracy)} %  density {cost.density:.4f}  "
        f"{spikes}MACs {cost.macs:,}  {record.train_seconds:.1f} s"
    )
