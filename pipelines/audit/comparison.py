"""Comparison of a record with the record of a second run of the same cell."""

from __future__ import annotations

import json
import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from msgspec.structs import replace

from pipelines.records.outcome import Cost, Outcome
from pipelines.records.record import TIMINGS, RunRecord
from pipelines.settings.tolerance import TOLERANCE

#: Largest difference of an accuracy, in [0, 1], between two runs on different machines.
ELSEWHERE = 0.02
#: Largest factor between the costs of two runs on different machines, as a natural logarithm. The
#: operations on spikes follow the firing rates, which scatter more than accuracies.
COSTS_ELSEWHERE = 0.5
#: Share of the test samples by which confusion matrices may differ, besides the mean error rate.
CONFUSION_ELSEWHERE = 0.1
#: Standard errors by which the mean difference of several cells may differ from zero.
MOST_ERRORS = 4.0


def differences(record: RunRecord, again: RunRecord) -> list[str]:
    """Say how the record of a second run differs, one sentence for each difference.

    With the same code in the same environment, all fields must be equal but the timings.
    Otherwise accuracies may differ by `ELSEWHERE`, costs by a factor of exp(`COSTS_ELSEWHERE`), the
    confusion matrices by the mean error rate and `CONFUSION_ELSEWHERE`, and densities by twice the
    tolerance of the target density, because two runs that both meet the target may differ by that
    much. A record without the instruction set of its processor is compared as one from elsewhere.

    Parameters
    ----------
    record
        The record that is checked.
    again
        The record of the second run of its cell.
    """
    if record.status != again.status:
        return [f"is {record.status}, but a second run is {again.status}: {again.message}"]
    known = record.environment is not None and record.environment.capability
    here = (record.environment, record.code_digest) == (again.environment, again.code_digest)
    if known and here:
        first, second = timeless(record), timeless(again)
        return [f"{name} differs in a second run." for name in first if first[name] != second[name]]
    if record.outcome is None or again.outcome is None:
        return []
    first, second = _compared_figures(record.outcome), _compared_figures(again.outcome)
    allowed = {"density": 2 * TOLERANCE[record.spec.granularity]}
    found = [
        f"has {name} {first[name]:.4f}, a second run {second[name]:.4f}."
        for name in first
        if abs(first[name] - second[name]) > allowed.get(name, ELSEWHERE)
    ]
    found += _different_costs(record.outcome.cost, again.outcome.cost)
    if _other_confusion(record.outcome, again.outcome):
        found.append("has another confusion matrix than a second run.")
    return found


def _different_costs(cost: Cost, again: Cost) -> Iterator[str]:
    """Compare costs of two machines: every honest one is near that of a second run."""
    for name in ("parameters", "macs", "effective_macs", "synops", "energy_nanojoule"):
        one, two = float(getattr(cost, name)), float(getattr(again, name))
        if one != two and (min(one, two) <= 0 or abs(math.log(one / two)) > COSTS_ELSEWHERE):
            yield f"has {name} {one:g}, a second run {two:g}."


def _other_confusion(outcome: Outcome, again: Outcome) -> bool:
    """Whether two confusion matrices differ by more than other right and wrong answers explain."""
    one, two = outcome.confusion, again.confusion
    if one is None or two is None:
        return False
    if list(map(len, one)) != list(map(len, two)) or list(map(sum, one)) != list(map(sum, two)):
        return True  # the classes of the test samples are the same everywhere
    pairs = [(a, b) for rows in zip(one, two, strict=True) for a, b in zip(*rows, strict=True)]
    moved = sum(abs(a - b) for a, b in pairs) / 2 / max(1, sum(b for _, b in pairs))
    errors = 1 - ((outcome.test_accuracy or 0.0) + (again.test_accuracy or 0.0)) / 2
    return moved > CONFUSION_ELSEWHERE + errors


def seed_scatter(records: Iterable[RunRecord]) -> float:
    """Return the standard deviation of test accuracies over seeds, pooled over all rows.

    It is `ELSEWHERE` if no row has two seeds.
    """
    rows: dict[str, list[float]] = defaultdict(list)
    for record in records:
        if record.outcome and record.outcome.test_accuracy is not None:
            row = replace(record.spec, seed=0).canonical()
            rows[row].append(record.outcome.test_accuracy)
    squares = [((v - statistics.fmean(row)) ** 2) for row in rows.values() for v in row]
    freedom = len(squares) - len(rows)
    return math.sqrt(sum(squares) / freedom) if freedom else ELSEWHERE


def shifted(differences: Sequence[float], scatter: float) -> str | None:
    """Say whether records are better than second runs of their cells, on average.

    Each record may differ by `ELSEWHERE` on another machine, but no machine is better on average.
    Two runs differ at most by as much as two seeds.

    Parameters
    ----------
    differences
        Test accuracy of each record, minus that of its second run. Fewer than three tell nothing.
    scatter
        Standard deviation of accuracies over seeds, see `seed_scatter`.
    """
    if len(differences) < 3:
        return None
    mean = statistics.fmean(differences)
    error = math.sqrt(2 / len(differences)) * scatter
    if mean <= MOST_ERRORS * error:
        return None
    return (
        f"is one of {len(differences)} records whose accuracies are {mean:.4f} better than second "
        f"runs on average; seeds explain {MOST_ERRORS * error:.4f}."
    )


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
