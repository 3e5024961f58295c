"""What can be wrong with folders of records, and what a second run says of one of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pipelines.audit.plausibility import contradictions
from pipelines.common.errors import BenchError, InputError
from pipelines.common.files import atomic_file, sha256
from pipelines.records.digest import code_digest
from pipelines.records.outcome import Outcome
from pipelines.records.record import TIMINGS, RunRecord, read_record
from pipelines.records.store import Store
from pipelines.settings.tolerance import TOLERANCE

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


def faults(*folders: Path, any_code: bool = False) -> Iterator[Fault]:
    """Hold the records of folders to their seals, to their specs, and to one another.

    Parameters
    ----------
    folders
        With records at any depth.
    any_code
        Whether records may have been made by other code than is here.

    Yields
    ------
    tuple of Path and str
        A file, and a sentence that says what is wrong with it.
    """
    records: dict[Path, RunRecord] = {}
    for folder in folders:
        yield from broken_seals(folder)
        for path in sorted(folder.rglob("*.json")):
            try:
                records[path] = read_record(path)
            except BenchError as error:
                yield path, str(error).removeprefix(f"{path} ")
    yield from _misplaced(records)
    yield from _unequal(records)
    yield from _without_parent(records)
    for path, record in records.items():
        yield from ((path, sentence) for sentence in contradictions(record))
        if not any_code and (sentence := _other_code(record)):
            yield path, sentence


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


def broken_seals(folder: Path) -> Iterator[Fault]:
    """Find what was edited, removed or added since a folder was sealed, if it ever was."""
    if not (folder / SEAL).exists():
        return
    lines = (folder / SEAL).read_text(errors="replace").splitlines()
    sealed = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    here = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*.json"))}
    for name, digest in sealed.items():
        if name not in here:
            yield folder / name, f"is in {SEAL}, but gone; bring it back."
        elif sha256(here[name]) != digest:
            yield here[name], f"is not what was sealed in {SEAL}; bring that back."
    for name in sorted(here.keys() - sealed.keys()):
        yield here[name], f"is not in {SEAL}; seal the folder once you have looked at it."


def _misplaced(records: Mapping[Path, RunRecord]) -> Iterator[Fault]:
    """Runs that are there twice, or do not lie where a store puts them."""
    places: dict[str, Path] = {}
    for path, record in records.items():
        place = Store(Path()).path(record.spec).parts[-3:]
        if (first := places.setdefault(record.run_id, path)) != path:
            yield path, f"holds the same run as {first.name} in {first.parent}; delete one."
        elif path.resolve().parts[-3:] != place:
            yield path, f"must be called {'/'.join(place)}, after its run."


def _unequal(records: Mapping[Path, RunRecord]) -> Iterator[Fault]:
    """Budgets that differ within a workload, and curves that two seeds cannot share."""
    budgets: dict[str, tuple[int, Path]] = {}
    curves: dict[tuple[float, ...], tuple[int, Path]] = {}
    for path, record in records.items():
        spec = record.spec
        kind = f"{spec.settings.model_dump_json()} {spec.track}"
        budget, other = budgets.setdefault(kind, (record.budget, path))
        if record.budget != budget:
            yield path, f"has a budget of {record.budget} samples, {other.name} one of {budget}."
        losses = tuple(point.train_loss for point in record.curve)
        seed, other = curves.setdefault(losses, (spec.seed, path))
        if losses and spec.seed != seed:
            yield path, f"has seed {spec.seed}, and the very losses of {other.name}, seed {seed}."


def _without_parent(records: Mapping[Path, RunRecord]) -> Iterator[Fault]:
    """Controls whose parent is gone, or no longer as it was; a folder of controls may be alone."""
    by_run = {record.run_id: record for record in records.values()}
    if all(record.spec.control for record in records.values()):
        return
    for path, record in records.items():
        if not record.spec.control:
            continue
        parent = by_run.get(record.spec.parent.run_id)
        if parent is None:
            yield path, f"is a control of {record.spec.parent.run_id}, which is gone."
        elif record.parent and record.parent != parent.trajectory.digest:
            yield path, f"followed a run {parent.run_id} that is not the one here; run it again."


def _other_code(record: RunRecord) -> str | None:
    """Say that a record cannot be repeated with the code that is here."""
    try:
        same = record.code_digest == _digest(record.spec.method)
    except InputError:
        return (
            f"is of the method {record.spec.method}, which is not here; put its file there first."
        )
    return None if same else "was made by other code than is here; run its cell again."


def _measures(outcome: Outcome) -> dict[str, float]:
    """What a second run is compared by; a trial has no test accuracy."""
    found = {
        "test accuracy": outcome.test_accuracy,
        "validation accuracy": outcome.validation_accuracy,
        "density": outcome.cost.density,
    }
    return {what: value for what, value in found.items() if value is not None}
