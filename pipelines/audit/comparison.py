"""Comparison of a record with the record of a second run of the same cell."""

from __future__ import annotations

import json
from typing import Any

from pipelines.records.outcome import Outcome
from pipelines.records.record import TIMINGS, RunRecord
from pipelines.settings.tolerance import TOLERANCE

#: Largest difference of an accuracy, in [0, 1], between two runs on different machines.
ELSEWHERE = 0.02


def differences(record: RunRecord, again: RunRecord) -> list[str]:
    """Say how the record of a second run differs, one sentence for each difference.

    With the same code in the same environment, all fields must be equal but the timings.
    Otherwise accuracies may differ by `ELSEWHERE`, and densities by twice the tolerance of the
    target density, because two runs that both meet the target may differ by that much.

    Parameters
    ----------
    record
        The record that is checked.
    again
        The record of the second run of its cell.
    """
    if record.status != again.status:
        return [f"is {record.status}, but a second run is {again.status}: {again.message}"]
    if (record.environment, record.code_digest) == (again.environment, again.code_digest):
        first, second = timeless(record), timeless(again)
        return [f"{name} differs in a second run." for name in first if first[name] != second[name]]
    if record.outcome is None or again.outcome is None:
        return []
    first, second = _compared_figures(record.outcome), _compared_figures(again.outcome)
    allowed = {"density": 2 * TOLERANCE[record.spec.granularity]}
    return [
        f"has {name} {first[name]:.4f}, a second run {second[name]:.4f}."
        for name in first
        if abs(first[name] - second[name]) > allowed.get(name, ELSEWHERE)
    ]


def timeless(record: RunRecord) -> dict[str, Any]:
    """Return the JSON fields of a record without its timings, at any depth.

    Two runs of one cell with the same code on the same machine give the same fields.
    """

    def without_timings(fields: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in fields.items() if name not in TIMINGS}

    fields: dict[str, Any] = json.loads(record.to_json(), object_hook=without_timings)
    return fields


def _compared_figures(outcome: Outcome) -> dict[str, float]:
    """Figures that are compared across machines; a tuning trial has no test accuracy."""
    figures = {
        "test accuracy": outcome.test_accuracy,
        "validation accuracy": outcome.validation_accuracy,
        "density": outcome.cost.density,
    }
    return {name: value for name, value in figures.items() if value is not None}
