"""Faults of folders of records: broken seals, misplaced files, records that contradict others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from msgspec.structs import replace

from pipelines.audit.plausibility import contradictions
from pipelines.audit.seal import broken_seals
from pipelines.common.errors import BenchError, InputError
from pipelines.methods.catalogue import infos
from pipelines.records.digest import is_current
from pipelines.records.files import read_record
from pipelines.records.record import RunRecord
from pipelines.records.store import Store

#: Relative difference of the training losses of two seeds that no two runs have in each of at
#: least so many epochs.
_ALIKE, _LONG = 1e-3, 5
#: A file, and a sentence that says what is wrong with it.
Fault = tuple[Path, str]


def faults(*folders: Path, any_code: bool = False) -> Iterator[Fault]:
    """Check the records of some folders against their seals, their specs, and each other.

    Parameters
    ----------
    folders
        Folders with records at any depth.
    any_code
        Whether records of other versions of the code are allowed. Records of tuning always are.

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
    yield from _different_budgets(records)
    yield from _copied_curves(records)
    yield from _without_parent(records)
    for path, record in records.items():
        for sentence in contradictions(record):
            yield path, sentence
        # A confirmation says why a value was chosen, by the code of its time.
        reason = None if any_code or record.spec.tuning else _other_code(record)
        if reason is not None:
            yield path, reason


def _misplaced(records: Mapping[Path, RunRecord]) -> Iterator[Fault]:
    """Find runs that are stored twice, and files that are not where a store would put them."""
    first_paths: dict[str, Path] = {}
    for path, record in records.items():
        expected = Store(Path()).path(record.spec).parts[-3:]
        first = first_paths.setdefault(record.run_id, path)
        if first != path:
            yield path, f"holds the same run as {first.name} in {first.parent}; delete one."
        elif path.resolve().parts[-3:] != expected:
            yield path, f"is in the wrong place; move it to {'/'.join(expected)}."


def _different_budgets(records: Mapping[Path, RunRecord]) -> Iterator[Fault]:
    """Find runs of the same workload and track that had different budgets."""
    budgets: dict[str, tuple[int, Path]] = {}
    for path, record in records.items():
        key = f"{record.spec.settings.model_dump_json()} {record.spec.track}"
        budget, first = budgets.setdefault(key, (record.budget, path))
        if record.budget != budget:
            yield (
                path,
                f"has a budget of {record.budget} samples, but {first.name} of the same workload "
                f"has {budget}.",
            )


def _copied_curves(records: Mapping[Path, RunRecord]) -> Iterator[Fault]:
    """Find runs of different seeds whose training losses are equal, or almost."""
    rows: dict[str, list[tuple[list[float], int, Path]]] = defaultdict(list)
    for path, record in records.items():
        losses = [point.train_loss for point in record.curve]
        rows[replace(record.spec, seed=0).canonical()].append((losses, record.spec.seed, path))
    for row in rows.values():
        row.sort(key=lambda run: run[0])
        for (first, seed, beside), (losses, other, path) in pairwise(row):
            if losses and seed != other and _almost_equal(first, losses):
                yield (
                    path,
                    f"has seed {other}, but the same training losses as {beside.name}, which has "
                    f"seed {seed}.",
                )


def _almost_equal(first: Sequence[float], second: Sequence[float]) -> bool:
    """Whether two curves are equal; long ones may differ by `_ALIKE` in every epoch."""
    if len(first) != len(second):
        return False
    allowed = _ALIKE if len(first) >= _LONG else 0.0
    return all(abs(a - b) <= allowed * abs(a) for a, b in zip(first, second, strict=True))


def _without_parent(records: Mapping[Path, RunRecord]) -> Iterator[Fault]:
    """Find controls whose parent is missing, or is another run than the control followed.

    Nothing is found if all records are controls: their parents may be in another folder.
    """
    by_run_id = {record.run_id: record for record in records.values()}
    if all(record.spec.control for record in records.values()):
        return
    for path, record in records.items():
        if not record.spec.control:
            continue
        parent = by_run_id.get(record.spec.parent.run_id)
        if parent is None:
            yield path, f"is a control of run {record.spec.parent.run_id}, which has no record."
        elif record.parent and record.parent != parent.trajectory.digest:
            yield (
                path,
                f"followed a run {parent.run_id} that differs from the record here; run the "
                "control again.",
            )


def _other_code(record: RunRecord) -> str | None:
    """Return a sentence if the code here is not the code that made a record."""
    method, data = record.spec.method, record.spec.settings.data
    try:
        same = is_current(record)
    except InputError:
        name = f"data set {data}" if method in infos() else f"method {method}"
        return f"is of the {name}, which does not exist here; add it first."
    return None if same else "was made by another version of the code; run its cell again."
