"""Plausibility of one record: its figures must fit each other, its spec, and arithmetic."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from pipelines.data.catalogue import SOURCES, Size
from pipelines.metrics.table import METRICS
from pipelines.records.correct import correct_samples
from pipelines.records.outcome import PICOJOULE_AC, PICOJOULE_MAC, Cost, Outcome
from pipelines.records.record import RunRecord
from pipelines.records.trajectory import Trajectory
from pipelines.settings.tolerance import off_target

#: Statuses of runs that reached the end of their budget. These runs have an outcome.
FINISHED = ("ok", "off-target")
#: Characters of a message, more than any that a run writes.
_MESSAGE = 2000
#: Largest allowed difference between the clocks of two machines.
_CLOCK_DIFFERENCE = timedelta(days=1)


def contradictions(record: RunRecord) -> Iterator[str]:
    """Find contradictions within one record, without a look at other records.

    Yields
    ------
    str
        A sentence that says what cannot be true.
    """
    yield from _wrong_names(record)
    yield from _wrong_status(record)
    yield from _wrong_budget(record)
    yield from _wrong_curve(record)
    yield from _wrong_points(record)
    yield from _wrong_trajectory(record.trajectory)
    yield from _wrong_clock(record)
    yield from _wrong_origin(record)
    yield from _wrong_metrics(record)
    if record.outcome is not None:
        yield from _wrong_accuracy(record, record.outcome)
        yield from _wrong_density(record, record.outcome.cost)
        yield from _wrong_cost(record.outcome.cost)


def _wrong_names(record: RunRecord) -> Iterator[str]:
    """Names are parts of paths: no name may lead out of the folder of records."""
    spec = record.spec
    names = {
        "workload": spec.workload,
        "method": spec.method,
        "variant": spec.variant,
        "matched method": spec.matched_to,
    }
    for field, name in names.items():
        if name and not re.fullmatch(r"\w[\w.:-]*", name):
            yield f"has the {field} {name!r}, which is not a valid name."


def _wrong_status(record: RunRecord) -> Iterator[str]:
    """The status must fit the outcome and the message."""
    status = record.status
    if record.outcome is None and status in FINISHED:
        yield f"is {status}, but has no outcome."
    if record.outcome is not None and status not in FINISHED:
        yield f"is {status}, but has an outcome."
    if (record.message == "") != (status == "ok"):
        yield f"is {status}, but its message is {record.message[:_MESSAGE]!r}."
    if len(record.message) > _MESSAGE:
        yield f"has a message of {len(record.message):,} characters, but a run writes fewer."


def _sizes(record: RunRecord) -> Size | None:
    """Return the number of samples of each split; None for a data set unknown here."""
    source = SOURCES.get(record.spec.settings.data)
    return source.size if source else None


def _wrong_budget(record: RunRecord) -> Iterator[str]:
    """The budget must be that of the workload, and a finished run must have spent all of it."""
    spent = sum(record.spent.values())
    if any(samples < 0 for samples in record.spent.values()):
        yield "spent a negative number of samples in a phase."
    if spent > record.budget:
        yield f"spent {spent} samples, but its budget is {record.budget}."
    if record.status in FINISHED and spent < record.budget:
        yield f"is {record.status}, but spent only {spent} of {record.budget} samples."
    sizes = _sizes(record)
    if sizes is None:
        return
    expected = record.spec.settings.budget(sizes.train, record.spec.track)
    if record.budget != expected:
        yield f"has a budget of {record.budget} samples, but its workload gives {expected}."


def _wrong_curve(record: RunRecord) -> Iterator[str]:
    """The curve must have one point for each epoch, up to the end of the budget.

    An epoch is one pass over the training split; the last one may end early with the budget.
    """
    curve, finished = record.curve, record.status in FINISHED
    epoch = record.budget / record.spec.recipe.epochs
    begun = math.ceil(record.spent.get("training", 0) / epoch)
    if len(curve) > begun or (finished and len(curve) < begun):
        yield f"has a curve of {len(curve)} points, but began {begun} epochs."
    if any(later.samples <= earlier.samples for earlier, later in pairwise(curve)):
        yield "has a curve whose number of samples does not grow."
    if not curve:
        return
    spent, last = sum(record.spent.values()), curve[-1]
    if last.samples > spent or (finished and last.samples != spent):
        yield f"ends its curve after {last.samples} samples, but spent {spent}."
    outcome = record.outcome
    if outcome and finished and last.validation_accuracy != outcome.validation_accuracy:
        yield "has another validation accuracy at the end of its curve than in its outcome."


def _wrong_points(record: RunRecord) -> Iterator[str]:
    """Each point of the curve must have figures that are possible."""
    sizes = _sizes(record)
    for number, point in enumerate(record.curve, 1):
        for field in ("validation_accuracy", "density", "firing_rate"):
            if not 0 <= getattr(point, field) <= 1:
                yield f"has {field} {getattr(point, field):g} in epoch {number}, not in [0, 1]."
        for field in ("train_loss", "validation_loss", "learning_rate"):
            if not 0 <= getattr(point, field) < math.inf:
                yield f"has {field} {getattr(point, field):g} in epoch {number}, less than 0."
        accuracy = point.validation_accuracy
        if sizes is not None and not _is_share(accuracy, sizes.validation):
            yield (
                f"has a validation accuracy of {accuracy:g} in epoch {number}, which is no whole "
                f"number of correct answers out of {sizes.validation}."
            )


def _is_share(accuracy: float, samples: int) -> bool:
    """Whether an accuracy is a whole number of correct answers / samples."""
    return not samples or round(accuracy * samples) / samples == accuracy


def _wrong_trajectory(trajectory: Trajectory) -> Iterator[str]:
    """Moments and restarts must be in order, and within the run."""
    moments = [moment.progress for moment in trajectory.moments]
    if moments != sorted(moments):
        yield "has changes of its masks that are not in order of time."
    if any(not 0 < progress < 1 for progress in trajectory.restarts):
        yield "has a restart outside of its run."


def _wrong_clock(record: RunRecord) -> Iterator[str]:
    """Times must not decrease, lie in the future, or contradict each other."""
    if record.started_at is None or record.environment is None:
        yield "has no file with its times and environment beside it; restore RUN_ID.provenance."
        return
    seconds = [
        0.0,
        *(point.seconds or 0.0 for point in record.curve),
        record.train_seconds or 0.0,
        record.total_seconds or 0.0,
    ]
    if any(later < earlier for earlier, later in pairwise(seconds)):
        yield "has a clock that runs backwards."
    if record.status in FINISHED and record.curve and seconds[-2] != seconds[-3]:
        yield "trained longer than its curve says."
    if record.started_at.tzinfo is None:
        yield "does not say in which time zone it started."
    elif record.started_at > datetime.now(UTC) + _CLOCK_DIFFERENCE:
        yield f"started on {record.started_at:%Y-%m-%d}, which is in the future."


def _wrong_origin(record: RunRecord) -> Iterator[str]:
    """The code, the checkpoint, the parent and the threads must fit the spec."""
    if record.code_digest != record.code_digest_end:
        yield "was made by code that changed during the run; run its cell again."
    spec, finished = record.spec, record.status in FINISHED
    origins = {
        "checkpoint": (record.checkpoint, spec.track == "post-training"),
        "parent": (record.parent, bool(spec.control)),
    }
    for field, (digest, required) in origins.items():
        if digest and not (required and re.fullmatch(r"[0-9a-f]{64}", digest)):
            yield f"has a {field} ({digest}) that a {spec.control or spec.track} run cannot have."
        elif finished and required and not digest:
            yield f"has no digest of its {field}."
    threads = record.environment.threads if record.environment else spec.threads
    if threads != spec.threads:
        yield f"ran with {threads} threads, but its spec asks for {spec.threads}."


def _wrong_metrics(record: RunRecord) -> Iterator[str]:
    """Every metric must be finite, and within its bounds."""
    for name, metric in METRICS.items():
        value = metric.read(record)
        low, high = metric.bounds
        if value is not None and not (math.isfinite(value) and low <= value <= high):
            yield f"has {name} {value:g}, which must be {_range(low, high)}."


def _range(low: float, high: float) -> str:
    return f"in [{low:g}, {high:g}]" if math.isfinite(high) else f"finite and at least {low:g}"


def _wrong_accuracy(record: RunRecord, outcome: Outcome) -> Iterator[str]:
    """An accuracy must be a whole number of correct answers / the samples of the split."""
    sizes = _sizes(record)
    for split, accuracy in (
        ("test", outcome.test_accuracy),
        ("validation", outcome.validation_accuracy),
    ):
        if accuracy is None:
            continue
        if not 0 <= accuracy <= 1:
            if split != "test":  # `_wrong_metrics` reports the test accuracy
                yield f"has a {split} accuracy of {accuracy:g}, which must be in [0, 1]."
        elif sizes is not None:
            samples: int = getattr(sizes, split)
            if not _is_share(accuracy, samples):
                yield (
                    f"has a {split} accuracy of {accuracy:g}, which is no whole number of correct "
                    f"answers out of {samples}."
                )
    if not _correct_fits(outcome, sizes.test if sizes else None):
        yield "has a list of correct test samples that does not give its test accuracy."
    if not _confusion_fits(outcome):
        yield "has a confusion matrix that does not give its test accuracy."


def _correct_fits(outcome: Outcome, samples: int | None) -> bool:
    """Whether the bits of the correct test samples, if there are any, give the test accuracy."""
    if outcome.correct is None:
        return True
    try:
        correct = correct_samples(outcome.correct)
    except ValueError:
        return False
    if samples is None:  # the data set is unknown here; the padding is at most seven bits
        return outcome.test_accuracy is not None
    right = int(correct[:samples].sum())
    fits = len(correct) == 8 * math.ceil(samples / 8) and not correct[samples:].any()
    return fits and right / samples == outcome.test_accuracy


def _confusion_fits(outcome: Outcome) -> bool:
    """Whether the confusion matrix, if there is one, gives the test accuracy."""
    rows = outcome.confusion
    if rows is None:
        return True
    correct = sum(row[i] for i, row in enumerate(rows) if i < len(row))
    samples = sum(sum(row) for row in rows)
    return correct / max(1, samples) == outcome.test_accuracy


def _wrong_density(record: RunRecord, cost: Cost) -> Iterator[str]:
    """The density must fit its target, the status, the curve, and a whole number of weights."""
    density = cost.density
    reinit = record.spec.control == "reinit"  # its density is relative to its parent's weights
    missed = off_target(record.spec, density, cost.synops)
    if missed and record.status == "ok" and not reinit:
        yield f"is ok, but misses its target: {missed}."
    if record.status == "off-target" and not missed:
        yield "is off-target, but meets its target."
    kept = density * cost.prunable
    if abs(kept - round(kept)) > 1e-6 * cost.prunable:
        yield (
            f"has a density of {density:g}, which is no whole number of weights out of "
            f"{cost.prunable}."
        )
    elif record.curve and not reinit and abs(record.curve[-1].density - density) > 1e-6:
        yield f"ends its curve at density {record.curve[-1].density:.4f}, but has {density:.4f}."


def _wrong_cost(cost: Cost) -> Iterator[str]:
    """Totals must be the sums over the layers; the energy must follow from the operations."""
    layers = cost.layers.values()
    for name, layer in cost.layers.items():
        shares = (layer.density, layer.firing_rate or 0.0)
        operations = (layer.effective_macs, layer.effective_acs)
        if not all(0 <= share <= 1 for share in shares) or min(operations) < 0:
            yield f"has a layer '{name}' with a density, rate or cost that is not possible."
        elif sum(operations) > layer.dense_operations * (1 + 1e-9):
            yield f"has a layer '{name}' with more effective operations than dense ones."
    energy = (PICOJOULE_MAC * cost.effective_macs + PICOJOULE_AC * cost.synops) / 1000
    for name, total, expected in (
        ("MACs", cost.macs, sum(layer.dense_operations for layer in layers)),
        ("effective MACs", cost.effective_macs, sum(layer.effective_macs for layer in layers)),
        ("SynOps", cost.synops, sum(layer.effective_acs for layer in layers)),
        ("energy", cost.energy_nanojoule, energy),
    ):
        if not math.isclose(total, expected, rel_tol=1e-9, abs_tol=1e-9):
            yield f"has {name} of {total:g}, but its parts give {expected:g}."
