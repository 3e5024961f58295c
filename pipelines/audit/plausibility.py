"""What one record cannot say: figures that contradict one another, its spec, or arithmetic."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from pipelines.data.catalogue import SOURCES, Size
from pipelines.metrics.table import METRICS
from pipelines.records.outcome import PICOJOULE_AC, PICOJOULE_MAC, Cost, Outcome
from pipelines.records.record import RunRecord
from pipelines.settings.tolerance import TOLERANCE

#: Statuses of runs that reached their end, and have an outcome.
FINISHED = ("ok", "off-target")
#: How far the clocks of two machines may be apart.
_CLOCKS = timedelta(days=1)


def contradictions(record: RunRecord) -> Iterator[str]:
    """Say in a sentence each what cannot be true of a record, whatever the others hold."""
    yield from _wrong_names(record)
    yield from _wrong_status(record)
    yield from _wrong_budget(record)
    yield from _wrong_curve(record)
    yield from _wrong_clock(record)
    yield from _wrong_origin(record)
    yield from _wrong_metrics(record)
    if record.outcome is not None:
        yield from _wrong_accuracy(record, record.outcome)
        yield from _wrong_density(record, record.outcome.cost)
        yield from _wrong_cost(record.outcome.cost)


def _wrong_names(record: RunRecord) -> Iterator[str]:
    """Names that would lead out of the folder of records, where they are parts of paths."""
    spec = record.spec
    for what, name in {
        "workload": spec.workload,
        "method": spec.method,
        "variant": spec.variant,
        "matched method": spec.matched_to,
    }.items():
        if name and not re.fullmatch(r"\w[\w.:-]*", name):
            yield f"has the {what} {name!r}, which is no name."


def _wrong_status(record: RunRecord) -> Iterator[str]:
    """A status that the rest of the record does not bear out."""
    status = record.status
    if (record.outcome is not None) != (status in FINISHED):
        yield f"is {status} and has {'no' if record.outcome is None else 'an'} outcome."
    if (record.message == "") != (status == "ok"):
        yield f"is {status}, and says {record.message!r} of it."


def _sizes(record: RunRecord) -> Size | None:
    """Samples of each split: accuracies are multiples of them, and budgets too."""
    source = SOURCES.get(record.spec.settings.data)
    return source.size if source else None


def _wrong_budget(record: RunRecord) -> Iterator[str]:
    spent = sum(record.spent.values())
    if any(samples < 0 for samples in record.spent.values()):
        yield "spent fewer than no samples in a phase."
    if spent > record.budget:
        yield f"spent {spent} samples of {record.budget}."
    if record.status in FINISHED and spent < record.budget:
        yield f"is {record.status}, but spent {spent} of {record.budget} samples."
    sizes = _sizes(record)
    if sizes is None:
        return
    given = record.spec.settings.budget(sizes.train, record.spec.track)
    if record.budget != given:
        yield f"has a budget of {record.budget} samples, its workload one of {given}."


def _wrong_curve(record: RunRecord) -> Iterator[str]:
    """An epoch is one pass over the training split, or what remains of the budget."""
    curve, finished = record.curve, record.status in FINISHED
    epoch = record.budget / record.spec.recipe.epochs
    begun = math.ceil(record.spent.get("training", 0) / epoch)
    if len(curve) > begun or (finished and len(curve) < begun):
        yield f"has a curve of {len(curve)} points, and began {begun} epochs."
    if any(later.samples <= earlier.samples for earlier, later in pairwise(curve)):
        yield "has a curve that does not go on."
    if not curve:
        return
    spent, last = sum(record.spent.values()), curve[-1]
    if last.samples > spent or (finished and last.samples != spent):
        yield f"ends its curve after {last.samples} samples, and spent {spent}."
    outcome = record.outcome
    if outcome and finished and last.validation_accuracy != outcome.validation_accuracy:
        yield "ends its curve with another validation accuracy than its outcome has."


def _wrong_clock(record: RunRecord) -> Iterator[str]:
    """Times that run backwards, lie ahead, or do not fit into one another."""
    seconds = [0.0, *(point.seconds for point in record.curve), record.train_seconds]
    if any(later < earlier for earlier, later in pairwise([*seconds, record.total_seconds])):
        yield "has a clock that runs backwards."
    if record.status in FINISHED and record.curve and seconds[-1] != seconds[-2]:
        yield "trained longer than its curve says."
    if record.started_at.tzinfo is None:
        yield "does not say in which time zone it started."
    elif record.started_at > datetime.now(UTC) + _CLOCKS:
        yield f"started on {record.started_at:%Y-%m-%d}, which is still to come."


def _wrong_origin(record: RunRecord) -> Iterator[str]:
    """What it says of the code, the checkpoint and the parent that it came from."""
    if record.code_digest != record.code_digest_end:
        yield "was made by code that changed during the run; run its cell again."
    spec, finished = record.spec, record.status in FINISHED
    needed = {
        "checkpoint": (record.checkpoint, spec.track == "post-training"),
        "parent": (record.parent, bool(spec.control)),
    }
    for what, (digest, wanted) in needed.items():
        if digest and not (wanted and re.fullmatch(r"[0-9a-f]{64}", digest)):
            yield f"names a {what} ({digest}) that a {spec.control or spec.track} run cannot have."
        elif finished and wanted and not digest:
            yield f"does not say which {what} it has."
    if record.environment.threads != spec.threads:
        yield f"ran with {record.environment.threads} threads, its spec asks for {spec.threads}."


def _wrong_metrics(record: RunRecord) -> Iterator[str]:
    """Metrics that are not finite, or outside their bounds."""
    for name, metric in METRICS.items():
        value = metric.read(record)
        low, high = metric.bounds
        if value is not None and not (math.isfinite(value) and low <= value <= high):
            yield f"has {name} {value:g}, which must be {_range(low, high)}."


def _range(low: float, high: float) -> str:
    return f"in [{low:g}, {high:g}]" if math.isfinite(high) else f"finite and at least {low:g}"


def _wrong_accuracy(record: RunRecord, outcome: Outcome) -> Iterator[str]:
    """Accuracies that are no number of right answers."""
    sizes = _sizes(record)
    last = record.curve[-1].validation_accuracy if record.curve else None
    for split, accuracy in (
        ("test", outcome.test_accuracy),
        ("validation", outcome.validation_accuracy),
        ("validation", last),
    ):
        if accuracy is None:
            continue
        if not 0 <= accuracy <= 1:
            if split != "test":  # which `_wrong_metrics` reports
                yield f"has a {split} accuracy of {accuracy:g}, which must be in [0, 1]."
        elif sizes is not None:
            samples: int = getattr(sizes, split)
            if round(accuracy * samples) / samples != accuracy:
                yield f"has a {split} accuracy of {accuracy:g}, which no {samples} samples give."
    if not _fits(outcome):
        yield "has a confusion matrix that does not give its test accuracy."


def _fits(outcome: Outcome) -> bool:
    """Whether the confusion matrix, if there is one, gives the test accuracy."""
    if (rows := outcome.confusion) is None:
        return True
    right = sum(row[i] for i, row in enumerate(rows) if i < len(row))
    return right / max(1, sum(map(sum, rows))) == outcome.test_accuracy


def _wrong_density(record: RunRecord, cost: Cost) -> Iterator[str]:
    """A density that misses its target, the status, the curve, or whole weights."""
    target, density = record.spec.target, cost.density
    reinit = record.spec.control == "reinit"  # its density is counted in its parent's weights
    missed = target is not None and abs(density - target) > TOLERANCE[record.spec.granularity]
    if missed and record.status == "ok" and not reinit:
        yield f"is ok, but its density {density:.4f} misses {target:g}."
    if record.status == "off-target" and not missed:
        yield f"is off-target, but its density {density:.4f} is what it should be."
    kept = density * cost.prunable
    if abs(kept - round(kept)) > 1e-6 * cost.prunable:
        yield f"has a density of {density:g}, which {cost.prunable} weights do not give."
    elif record.curve and not reinit and abs(record.curve[-1].density - density) > 1e-9:
        yield f"ends its curve at density {record.curve[-1].density:.4f}, and has {density:.4f}."


def _wrong_cost(cost: Cost) -> Iterator[str]:
    """Totals that are not those of the layers, and energy that is not that of the operations."""
    layers = cost.layers.values()
    energy = (PICOJOULE_MAC * cost.effective_macs + PICOJOULE_AC * cost.synops) / 1000
    for what, total, sum_ in (
        ("MACs", cost.macs, sum(layer.dense_operations for layer in layers)),
        ("effective MACs", cost.effective_macs, sum(layer.effective_macs for layer in layers)),
        ("SynOps", cost.synops, sum(layer.effective_acs for layer in layers)),
        ("energy", cost.energy_nanojoule, energy),
    ):
        if not math.isclose(total, sum_, rel_tol=1e-9, abs_tol=1e-9):
            yield f"has {what} of {total:g}, but its parts give {sum_:g}."
