"""What can be wrong with a folder of records, and what a second run says of one of them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from pipelines.core.code import code_digest
from pipelines.core.data.files import atomic_file, sha256
from pipelines.core.errors import BenchError
from pipelines.core.record import TIMINGS, Outcome, RunRecord, read_record
from pipelines.core.tolerance import TOLERANCE

#: The seal: a line for each record, as ``sha256sum`` writes and checks it.
SEAL = "SHA256SUMS"
#: How far the accuracy of a second run may be off on another machine, in shares of one.
ELSEWHERE = 0.02

Fault = tuple[Path, str]
_digest = cache(code_digest)


def seal(folder: Path) -> int:
    """Write down the hash of every record in a folder; return how many there are."""
    files = sorted(folder.rglob("*.json"))
    lines = [f"{sha256(file)}  {file.relative_to(folder).as_posix()}\n" for file in files]
    with atomic_file(folder / SEAL) as out:
        out.write("".join(lines).encode())
    return len(files)


def faults(folder: Path, *, any_code: bool = False) -> Iterator[Fault]:
    """Hold the records of a folder to their seal, to their specs, and to one another.

    Parameters
    ----------
    folder
        With records at any depth.
    any_code
        Whether records may have been made by other code than is here.

    Yields
    ------
    tuple of Path and str
        A file, and a sentence that says what is wrong with it.
    """
    yield from _broken_seals(folder)
    places: dict[str, Path] = {}
    budgets: dict[str, tuple[int, Path]] = {}
    for path in sorted(folder.rglob("*.json")):
        try:
            record = read_record(path)
        except BenchError as error:
            yield path, str(error).removeprefix(f"{path} ")
            continue
        if (first := places.setdefault(record.run_id, path)) != path:
            yield path, f"holds the same run as {first.name} in {first.parent}; delete one."
        elif path.stem != record.run_id:
            yield path, f"must be called {record.run_id}.json, after its run."
        spec = record.spec
        kind = f"{spec.settings.model_dump_json()} {spec.track}"
        budget, other = budgets.setdefault(kind, (record.budget, path))
        if record.budget != budget:
            yield path, f"has a budget of {record.budget} samples, {other.name} one of {budget}."
        yield from ((path, sentence) for sentence in _contradictions(record))
        if not any_code and record.code_digest != _digest(spec.method):
            yield path, "was made by other code than is here; run its cell again."


def differences(record: RunRecord, again: RunRecord) -> list[str]:
    """Say how a second run of the same cell differs.

    With the same code in the same environment nothing may but the timings. Otherwise accuracies may
    by `ELSEWHERE`, and densities by what two runs that both meet a target may.
    """
    if record.status != again.status:
        return [f"is {record.status}, and a second run is {again.status}: {again.message}"]
    if (record.environment, record.code_digest) == (again.environment, again.code_digest):
        one, two = timeless(record), timeless(again)
        return [f"{name} differs in a second run." for name in one if one[name] != two[name]]
    if record.outcome is None or again.outcome is None:
        return []
    one, two = _measures(record.outcome), _measures(again.outcome)
    allowed = {"density": 2 * TOLERANCE[record.spec.granularity]}
    return [
        f"has {what} {one[what]:.4f}, a second run {two[what]:.4f}."
        for what in one
        if abs(one[what] - two[what]) > allowed.get(what, ELSEWHERE)
    ]


def timeless(record: RunRecord) -> dict[str, Any]:
    """Return the fields of a record, but those that no two runs share."""

    def without(fields: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in fields.items() if name not in TIMINGS}

    fields: dict[str, Any] = json.loads(record.to_json(), object_hook=without)
    return fields


def _broken_seals(folder: Path) -> Iterator[Fault]:
    """Records that were edited, removed or added since the folder was sealed."""
    if not (folder / SEAL).exists():
        return
    lines = (folder / SEAL).read_text().splitlines()
    pairs = [line.partition("  ") for line in lines]
    sealed = {folder / name: digest for digest, _, name in pairs}
    for path, digest in sealed.items():
        if not path.is_file():
            yield path, f"is in {SEAL}, but gone; bring it back."
        elif sha256(path) != digest:
            yield path, f"is not what was sealed in {SEAL}; bring that back."
    for path in sorted(set(folder.rglob("*.json")) - set(sealed)):
        yield path, f"is not in {SEAL}; seal the folder once you have looked at it."


def _contradictions(record: RunRecord) -> Iterator[str]:
    """What a record says twice, differently."""
    spent = sum(record.spent.values())
    if record.code_digest != record.code_digest_end:
        yield "was made by code that changed during the run; run its cell again."
    if spent > record.budget:
        yield f"spent {spent} samples of {record.budget}."
    if record.status != "ok":
        return
    if spent < record.budget:
        yield f"is ok, but spent {spent} of {record.budget} samples."
    if record.outcome is None:
        yield "is ok and has no outcome."
    else:
        yield from _impossible(record, record.outcome)


def _impossible(record: RunRecord, outcome: Outcome) -> Iterator[str]:
    """What the outcome of a run that is ok cannot be."""
    target, density = record.spec.target, outcome.cost.density
    if target is not None and abs(density - target) > TOLERANCE[record.spec.granularity]:
        yield f"is ok, but its density {density:.4f} misses {target:g}."
    if record.curve and record.curve[-1].validation_accuracy != outcome.validation_accuracy:
        yield "ends its curve with another validation accuracy than its outcome has."
    for accuracy in (outcome.test_accuracy, outcome.validation_accuracy):
        if accuracy is not None and not 0 <= accuracy <= 1:
            yield f"has an accuracy of {accuracy:g}, which must be in [0, 1]."
    if outcome.test_loss is not None and not math.isfinite(outcome.test_loss):
        yield "is ok, but its test loss is no number."


def _measures(outcome: Outcome) -> dict[str, float]:
    """What a second run is compared by; a trial has no test accuracy."""
    found = {
        "test accuracy": outcome.test_accuracy,
        "validation accuracy": outcome.validation_accuracy,
        "density": outcome.cost.density,
    }
    return {what: value for what, value in found.items() if value is not None}
