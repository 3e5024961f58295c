"""Comparison of records with the records of second runs of the same cells.

In the same environment all bits are equal. Elsewhere rounding differs, and a spike more or less
moves all that follows, so a second run differs almost as much as another seed. The limits below
are well above what honest boards of the digits show in several environments. docs/publishing.md
has the figures of each, and ``python -m tools.forgeries`` measures them again.
"""

from __future__ import annotations

import json
import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from msgspec.structs import replace

from pipelines.audit.plausibility import FINISHED
from pipelines.data.catalogue import SOURCES
from pipelines.records.outcome import Cost, Outcome
from pipelines.records.record import TIMINGS, RunRecord
from pipelines.settings.tolerance import TOLERANCE

#: Standard deviations by which an accuracy may differ elsewhere, and by which the accuracies of
#: several cells may be better on average. A standard deviation is that of the difference of two
#: seeds.
MOST_APART, MOST_BETTER = 3.5, 2.6
#: Bounds of the standard deviation over seeds.
_LEAST, _MOST = 0.003, 0.05
#: Variance over seeds as a multiple of p (1 - p), if no row has two seeds; and the number of seeds
#: that the multiple of all rows counts for in each row.
_MULTIPLE, _WEIGHT = 0.003, 5
#: Largest factor between the costs of two runs on different machines, as a natural logarithm. The
#: operations on spikes follow the firing rates, which scatter more than accuracies.
COSTS_ELSEWHERE = 0.5
#: Largest mean of these logarithms over many cells; of n cells, `COSTS_ELSEWHERE` / n is added.
MEAN_COSTS = 0.1
#: Share of the test samples by which confusion matrices may differ, besides the mean error rate.
CONFUSION_ELSEWHERE = 0.15
#: Costs that are compared.
_COSTS = ("parameters", "macs", "effective_macs", "synops", "energy_nanojoule")


class Scatter:
    """How much accuracies scatter over the seeds of each row of some records.

    A variance of few seeds says little. So it is averaged with that of all rows, which is a
    multiple of p (1 - p) at the mean accuracy p of the row, and counts as `_WEIGHT` seeds. It is at
    least half of the variance p (1 - p) / n by the n samples of the split.

    Parameters
    ----------
    records
        The records.
    """

    def __init__(self, records: Iterable[RunRecord]) -> None:
        self._rows: dict[tuple[str, str], list[float]] = defaultdict(list)
        for record in records:
            for name, value in _accuracies(record).items():
                self._rows[_row(record), name].append(value)
        squares, freedom = 0.0, 0.0
        for row in self._rows.values():
            mean = statistics.fmean(row)
            squares += sum((value - mean) ** 2 for value in row)
            freedom += (len(row) - 1) * _share(mean)
        self._multiple = squares / freedom if freedom else _MULTIPLE

    def of(self, record: RunRecord, name: str) -> float:
        """Return the standard deviation of an accuracy over the seeds of the record's row."""
        row = self._rows.get((_row(record), name)) or [_accuracies(record)[name]]
        mean = statistics.fmean(row)
        share = _share(mean)
        squares = sum((value - mean) ** 2 for value in row) + _WEIGHT * self._multiple * share
        variance = squares / (len(row) - 1 + _WEIGHT)
        source = SOURCES.get(record.spec.settings.data)
        samples: int = getattr(source.size, name.split(maxsplit=1)[0]) if source else 0
        sampled = share / samples / 2 if samples else 0.0
        return min(_MOST, max(_LEAST, math.sqrt(max(variance, sampled))))


def _share(accuracy: float) -> float:
    """Variance of one answer; none for an accuracy that is not possible."""
    return max(0.0, accuracy * (1 - accuracy))


def _row(record: RunRecord) -> str:
    return replace(record.spec, seed=0).canonical()


def _accuracies(record: RunRecord) -> dict[str, float]:
    """Return the accuracies of a record by name; a tuning trial has no test accuracy."""
    outcome = record.outcome
    if outcome is None:
        return {}
    found = {
        "test accuracy": outcome.test_accuracy,
        "validation accuracy": outcome.validation_accuracy,
    }
    return {name: value for name, value in found.items() if value is not None}


def apart(record: RunRecord, again: RunRecord, scatter: Scatter) -> dict[str, float]:
    """Return by how many standard deviations the accuracies of a record are above a second run."""
    second = _accuracies(again)
    return {
        name: (value - second[name]) / (math.sqrt(2) * scatter.of(record, name))
        for name, value in _accuracies(record).items()
        if name in second
    }


def differences(record: RunRecord, again: RunRecord, scatter: Scatter | None = None) -> list[str]:
    """Say how the record of a second run differs, one sentence for each difference.

    With the same code in the same environment, all fields must be equal but the timings.
    Otherwise accuracies may differ by `MOST_APART` standard deviations, costs by a factor of
    exp(`COSTS_ELSEWHERE`), confusion matrices by the mean error rate and `CONFUSION_ELSEWHERE`, and
    densities by twice the tolerance of the target density, because two runs that both meet the
    target may differ by that much. A record without the instruction set of its processor is
    compared as one from elsewhere.

    Parameters
    ----------
    record
        The record that is checked.
    again
        The record of the second run of its cell.
    scatter
        Of the records beside it; None: unknown.
    """
    if is_here(record, again):
        if record.status != again.status:
            return [_other_status(record, again)]
        first, second = timeless(record), timeless(again)
        return [f"{name} differs in a second run." for name in first if first[name] != second[name]]
    if record.status != again.status and not {record.status, again.status} <= {*FINISHED}:
        return [_other_status(record, again)]
    if record.outcome is None or again.outcome is None:
        return []
    scatter = scatter or Scatter(())
    first, second = _accuracies(record), _accuracies(again)
    found = [
        f"has {name} {first[name]:.4f}, a second run {second[name]:.4f}."
        for name, deviations in apart(record, again, scatter).items()
        if abs(deviations) > MOST_APART
    ]
    one, two = record.outcome.cost.density, again.outcome.cost.density
    if abs(one - two) > 2 * TOLERANCE[record.spec.granularity]:
        found.append(f"has density {one:.4f}, a second run {two:.4f}.")
    found += _different_costs(record.outcome.cost, again.outcome.cost)
    if _other_confusion(record.outcome, again.outcome):
        found.append("has another confusion matrix than a second run.")
    return found


def is_here(record: RunRecord, again: RunRecord) -> bool:
    """Whether both runs had the same code in the same environment, so that all bits are equal."""
    there, here = record.environment, again.environment
    if there is None or here is None or not there.capability:
        return False
    if not there.compiler:  # an old record does not name it
        here = here.model_copy(update={"compiler": ""})
    return (there, record.code_digest) == (here, again.code_digest)


def _other_status(record: RunRecord, again: RunRecord) -> str:
    return f"is {record.status}, but a second run is {again.status}: {again.message}"


def _different_costs(cost: Cost, again: Cost) -> Iterator[str]:
    """Compare costs of two machines: every honest one is near that of a second run."""
    for name, distance in log_costs(cost, again).items():
        if abs(distance) > COSTS_ELSEWHERE:
            yield f"has {name} {getattr(cost, name):g}, a second run {getattr(again, name):g}."


def log_costs(cost: Cost, again: Cost) -> dict[str, float]:
    """Return the natural logarithm of the quotient of each cost; infinity if one alone is 0."""
    found = {}
    for name in _COSTS:
        one, two = float(getattr(cost, name)), float(getattr(again, name))
        found[name] = 0.0 if one == two else math.inf
        if min(one, two) > 0:
            found[name] = math.log(one / two)
    return found


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


def average_differences(
    pairs: Sequence[tuple[RunRecord, RunRecord]], scatter: Scatter
) -> Iterator[str]:
    """Say whether records from elsewhere differ from second runs of their cells on average.

    Single records may differ on another machine, but no machine is better on average.

    Parameters
    ----------
    pairs
        Each record, and that of its second run. Those from here are left out.
    scatter
        Of all records.
    """
    pairs = [(one, two) for one, two in pairs if not is_here(one, two) and one.outcome]
    if len(pairs) < 2:
        return
    deviations: dict[str, list[float]] = defaultdict(list)
    costs: dict[str, list[float]] = defaultdict(list)
    for record, again in pairs:
        for name, value in apart(record, again, scatter).items():
            deviations[name].append(value)
        if record.outcome and again.outcome:
            for name, value in log_costs(record.outcome.cost, again.outcome.cost).items():
                costs[name].append(value)
    for name, values in deviations.items():
        better = sum(values) / math.sqrt(len(values))
        if better > MOST_BETTER:
            yield (
                f"is one of {len(values)} records whose {name} is better than that of second runs "
                f"by {better:.1f} standard errors."
            )
    for name, values in costs.items():
        mean = statistics.fmean(values)
        if abs(mean) > MEAN_COSTS + COSTS_ELSEWHERE / len(values):
            yield (
                f"is one of {len(values)} records whose {name} is {math.exp(mean):.2f} times that "
                "of second runs on average."
            )


def timeless(record: RunRecord) -> dict[str, Any]:
    """Return the JSON fields of a record without its timings, at any depth.

    Two runs of one cell with the same code on the same machine give the same fields.
    """

    def without_timings(fields: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in fields.items() if name not in TIMINGS}

    fields: dict[str, Any] = json.loads(record.to_json(), object_hook=without_timings)
    return fields
