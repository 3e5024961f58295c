"""What is kept of the outcome of a canary: hashes of its parts, and a few figures to read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from pipelines.common.structs import as_json
from pipelines.records.record import TIMINGS, RunRecord
from pipelines.settings.tolerance import TOLERANCE

#: Parts of an outcome -> fields of the record, in the form of its JSON. A field that is not named
#: here, such as one of a later version of the record format, changes no hash.
PARTS: dict[str, tuple[str, ...]] = {
    "run": ("run_id", "status", "budget", "spent", "checkpoint"),
    "curve": (
        "curve.samples",
        "curve.train_loss",
        "curve.validation_accuracy",
        "curve.validation_loss",
        "curve.density",
        "curve.firing_rate",
        "curve.learning_rate",
    ),
    "masks": ("trajectory.restarts", "trajectory.moments", "outcome.layout"),
    "accuracy": (
        "outcome.test_accuracy",
        "outcome.test_loss",
        "outcome.validation_accuracy",
        "outcome.confusion",
    ),
    "cost": (
        "outcome.cost.density",
        "outcome.cost.prunable",
        "outcome.cost.parameters",
        "outcome.cost.macs",
        "outcome.cost.effective_macs",
        "outcome.cost.synops",
        "outcome.cost.membrane_updates",
        "outcome.cost.activation_sparsity",
        "outcome.cost.connection_sparsity",
        "outcome.cost.energy_nanojoule",
        "outcome.cost.timestep_sparsity",
        "outcome.cost.layers",
    ),
}
#: Hexadecimal digits that are kept of the SHA-256 of a part.
DIGITS = 12
#: Largest differences on a machine without a reference. Rounding differs there: a spike more or
#: less moves what follows, and the networks are so small and so briefly trained that an accuracy
#: may move by several points. The density is set by the method within the tolerance of a target.
#: All canaries are within these limits if torch uses AVX2 instead of AVX-512 (set
#: ATEN_CPU_CAPABILITY=avx2), which changes the rounding of nearly every operation.
ACCURACY, RELATIVE_LOSS, RELATIVE_SYNOPS = 0.15, 0.25, 0.35


class Result(NamedTuple):
    """What is kept of one canary.

    Parameters
    ----------
    status
        Status of its run.
    loss, accuracy
        Validation loss of the last epoch and test accuracy; None if the run did not get there.
    density, synops
        Of the finished network; None as above.
    hashes
        Hash of each part of `PARTS`, joined by a hyphen.
    """

    status: str
    loss: float | None
    accuracy: float | None
    density: float | None
    synops: float | None
    hashes: str


def result_of(record: RunRecord) -> Result:
    """Return what is kept of the record of a canary."""
    fields = as_json(record)
    hashes = "-".join(_hash([_pick(fields, name) for name in names]) for names in PARTS.values())
    losses = _pick(fields, "curve.validation_loss")
    loss = round(losses[-1], 4) if losses else None
    if record.outcome is None:
        return Result(record.status, loss, None, None, None, hashes)
    cost = record.outcome.cost
    accuracy = round(record.outcome.test_accuracy or 0.0, 4)
    return Result(
        record.status, loss, accuracy, round(cost.density, 4), round(cost.synops, 1), hashes
    )


def _pick(fields: Any, name: str) -> Any:
    """Return a field by its path; of a list, that of each element; None if it is not there."""
    first, _, rest = name.partition(".")
    if isinstance(fields, list | tuple):
        return [_pick(one, name) for one in fields]
    if not isinstance(fields, Mapping) or first not in fields:
        return None
    return _pick(fields[first], rest) if rest else _untimed(fields[first])


def _untimed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _untimed(one) for name, one in value.items() if name not in TIMINGS}
    return value


def _hash(values: Any) -> str:
    text = json.dumps(values, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def difference(name: str, reference: Result, now: Result) -> str:
    """Say how an outcome differs from the reference of the same environment; empty if it is equal.

    Parameters
    ----------
    name
        Name of the canary.
    reference, now
        The recorded and the new outcome.
    """
    if reference.hashes == now.hashes:
        return ""
    pairs = zip(PARTS, reference.hashes.split("-"), now.hashes.split("-"), strict=False)
    parts = ", ".join(part for part, old, new in pairs if old != new)
    return f"{name}: differs in {parts}: {_figures(reference)} -> {_figures(now)}"


def deviation(name: str, granularity: str, reference: Result, now: Result) -> str:
    """Say how an outcome differs from that of another environment by more than the tolerances.

    Parameters
    ----------
    name, granularity
        Of the canary.
    reference, now
        The recorded and the new outcome.
    """
    finished = {"ok", "off-target"}
    same_end = {reference.status, now.status} <= finished or reference.status == now.status
    allowed = {
        "accuracy": (reference.accuracy, now.accuracy, ACCURACY),
        "loss": (reference.loss, now.loss, RELATIVE_LOSS * abs(reference.loss or 0.0)),
        "density": (reference.density, now.density, 2 * max(TOLERANCE[granularity], 0.005)),
        "synops": (reference.synops, now.synops, RELATIVE_SYNOPS * (reference.synops or 0.0)),
    }
    far = [
        figure
        for figure, (old, new, limit) in allowed.items()
        if old is not None and new is not None and abs(new - old) > limit
    ]
    if same_end and not far:
        return ""
    what = ", ".join(far if same_end else ["status", *far])
    return f"{name}: differs in {what}: {_figures(reference)} -> {_figures(now)}"


def _figures(result: Result) -> str:
    loss, accuracy, density, synops = (
        "none" if value is None else f"{value:g}"
        for value in (result.loss, result.accuracy, result.density, result.synops)
    )
    return f"{result.status}, loss {loss}, accuracy {accuracy}, density {density}, synops {synops}"
