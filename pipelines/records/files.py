"""Files of records: how a record is written, and how it is read, whatever its schema version.

A record has two files, both of them JSON:

=====================  ==========================================================================
``RUN_ID.json``        what was asked for and what came out. A second run in the same environment
                       gives the same bytes.
``RUN_ID.provenance``  when and where the run happened, and all times. They differ in every run,
                       so DVC does not track this file (``.dvcignore``). A record without it has
                       no times.
=====================  ==========================================================================

A record may also be one file with everything in it, as `RunRecord.to_json` gives it; schema
versions up to 3 had this form only. `read_record` reads it, and `write_record` writes both files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import datetime
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import msgspec
import pydantic
from msgspec import field
from msgspec.structs import replace

from pipelines.common.errors import BenchError
from pipelines.common.files import atomic_file, read_small_file
from pipelines.common.structs import Positive, Struct, Whole, as_json, decoder
from pipelines.records.columns import CurveColumns, TrajectoryColumns
from pipelines.records.outcome import Outcome
from pipelines.records.record import SCHEMA_VERSION, Environment, RunRecord, Status
from pipelines.records.upgrade import upgrade
from pipelines.settings.spec import RunSpec

#: Ending of the file beside a record.
PROVENANCE = ".provenance"
#: Fields of `Cost` that the provenance has.
LATENCIES = ("latency_milliseconds", "masked_latency_milliseconds")


class Provenance(Struct, frozen=True, kw_only=True):
    """The content of ``RUN_ID.provenance``: fields of a record that differ in every run.

    `epoch_seconds` has `EpochPoint.seconds` of each epoch; the latencies are those of `Cost`. All
    other fields are those of `RunRecord`.
    """

    environment: Environment
    started_at: datetime
    train_seconds: float
    total_seconds: float
    epoch_seconds: list[float] = field(default_factory=list)
    latency_milliseconds: dict[int, float] = field(default_factory=dict)
    masked_latency_milliseconds: dict[int, float] = field(default_factory=dict)
    interruptions: int = 0


class StoredRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The content of ``RUN_ID.json``: a `RunRecord` in columns, without what differs in every run.

    Parameters
    ----------
    spec
        The file leaves out fields at their default, also those of `settings`.
    code_digest_end
        Empty if it is equal to `code_digest`.
    """

    schema_version: int
    rules_version: int
    run_id: str
    spec: RunSpec
    status: Status
    message: str = ""
    outcome: Outcome | None = None
    curve: CurveColumns = field(default_factory=CurveColumns)
    budget: Positive
    spent: dict[str, Whole] = field(default_factory=dict)
    trajectory: TrajectoryColumns = field(default_factory=TrajectoryColumns)
    checkpoint: str = ""
    parent: str = ""
    code_digest: str
    code_digest_end: str = ""


_STORED = decoder(StoredRecord)
_PROVENANCE = decoder(Provenance)
_WHOLE = decoder(RunRecord)


def is_present_form(path: Path) -> bool:
    """Whether the file of a record has the form that `write_record` gives it now."""
    try:
        return _STORED.decode(_content(path)).schema_version == SCHEMA_VERSION
    except (ValueError, RecursionError):
        return False


def copy_record(source: Path, target: Path) -> None:
    """Copy a record and the file beside it byte by byte; the record comes last.

    Raises
    ------
    BenchError
        If a file cannot be read or written.
    """
    for ending in (PROVENANCE, source.suffix):
        file = source.with_suffix(ending)
        if file.exists():
            with atomic_file(target.with_suffix(ending)) as copy:
                copy.write(_content(file))


def files_digest(path: Path) -> str:
    """SHA-256 of a record and its provenance."""
    digest = hashlib.sha256(_content(path))
    beside = path.with_suffix(PROVENANCE)
    if beside.exists():
        digest.update(_content(beside))
    return digest.hexdigest()


def write_record(path: Path, record: RunRecord) -> None:
    """Write a record and the file beside it, each atomically; the record comes last.

    Raises
    ------
    BenchError
        If a file cannot be written.
    msgspec.ValidationError
        If a field has a wrong type or value.
    """
    settings = record.spec.settings.model_dump(mode="json", exclude_defaults=True)
    provenance = _provenance(record)
    stored = as_json(_stored(record))
    stored["spec"] = record.spec.given() | {"settings": settings}
    if stored.get("outcome"):
        for name in LATENCIES:
            del stored["outcome"]["cost"][name]
    beside = path.with_suffix(PROVENANCE)
    if provenance is None:
        beside.unlink(missing_ok=True)
    else:
        fields = as_json(provenance)
        if not provenance.interruptions:  # so that most files are as they were
            del fields["interruptions"]
        _write(beside, as_text(fields))
    _write(path, as_text(stored))


def as_text(value: Any) -> str:
    """Write JSON for people: sorted keys; what holds only plain values stays on one line."""
    return "".join(_lines(value, "")) + "\n"


def _lines(value: Any, indent: str) -> Iterator[str]:
    pairs = sorted(value.items()) if isinstance(value, dict) else None
    inner = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(value, dict | list) or not any(isinstance(v, dict | list) for v in inner):
        yield json.dumps(value, sort_keys=True, allow_nan=False)
        return
    opening, closing = "{}" if pairs is not None else "[]"
    names = [f"{json.dumps(name)}: " for name, _ in pairs] if pairs is not None else repeat("")
    values = [one for _, one in pairs] if pairs is not None else value
    yield opening
    for number, (name, one) in enumerate(zip(names, values, strict=False)):
        yield f"{',' if number else ''}\n{indent} {name}"
        yield from _lines(one, f"{indent} ")
    yield f"\n{indent}{closing}"


def _write(path: Path, text: str) -> None:
    with atomic_file(path) as file:
        file.write(text.encode())


def _provenance(record: RunRecord) -> Provenance | None:
    if record.environment is None or record.started_at is None:
        return None
    cost = record.outcome.cost if record.outcome else None
    return Provenance(
        environment=record.environment,
        started_at=record.started_at,
        train_seconds=record.train_seconds or 0.0,
        total_seconds=record.total_seconds or 0.0,
        epoch_seconds=[point.seconds or 0.0 for point in record.curve],
        latency_milliseconds=cost.latency_milliseconds if cost else {},
        masked_latency_milliseconds=cost.masked_latency_milliseconds if cost else {},
        interruptions=record.interruptions,
    )


def _stored(record: RunRecord) -> StoredRecord:
    ended = record.code_digest_end
    return StoredRecord(
        schema_version=SCHEMA_VERSION,
        rules_version=record.rules_version,
        run_id=record.run_id,
        spec=record.spec,
        status=record.status,
        message=record.message,
        outcome=record.outcome,
        curve=CurveColumns.of(record.curve),
        budget=record.budget,
        spent=record.spent,
        trajectory=TrajectoryColumns.of(record.trajectory, record.budget),
        checkpoint=record.checkpoint,
        parent=record.parent,
        code_digest=record.code_digest,
        code_digest_end="" if ended == record.code_digest else ended,
    )


def read_record(path: Path, spec: RunSpec | None = None) -> RunRecord:
    """Read one record of any schema version, and upgrade it to the present one.

    Parameters
    ----------
    path
        A JSON file.
    spec
        The cell whose run_id is the file's name. If it is given, and the record has this spec, the
        spec is not hashed again.

    Raises
    ------
    BenchError
        If a file cannot be read, is not a record, has a newer schema version, or if its run_id
        is not that of its spec.
    """
    text = _content(path)
    try:
        record = _join(path, _STORED.decode(text))
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors, too
        record = _read_otherwise(path, text, error)
    named_after_spec = spec is not None and record.spec == spec
    expected = path.stem if named_after_spec else record.spec.run_id
    if record.run_id != expected:
        raise BenchError(f"{path} was edited: its run_id is not that of its spec.")
    return record


def _join(path: Path, stored: StoredRecord) -> RunRecord:
    """Build the record of its files."""
    _refuse_newer(path, stored.schema_version)
    provenance = _read_provenance(path.with_suffix(PROVENANCE))
    outcome = stored.outcome
    if provenance and outcome:
        latencies = {name: getattr(provenance, name) for name in LATENCIES}
        outcome = replace(outcome, cost=replace(outcome.cost, **latencies))
    seconds = chain(provenance.epoch_seconds if provenance else (), repeat(None))
    return RunRecord(
        rules_version=stored.rules_version,
        run_id=stored.run_id,
        spec=stored.spec,
        status=stored.status,
        message=stored.message,
        outcome=outcome,
        curve=stored.curve.points(seconds),
        budget=stored.budget,
        spent=stored.spent,
        started_at=provenance.started_at if provenance else None,
        train_seconds=provenance.train_seconds if provenance else None,
        total_seconds=provenance.total_seconds if provenance else None,
        trajectory=stored.trajectory.trajectory(stored.budget),
        checkpoint=stored.checkpoint,
        parent=stored.parent,
        environment=provenance.environment if provenance else None,
        interruptions=provenance.interruptions if provenance else 0,
        code_digest=stored.code_digest,
        code_digest_end=stored.code_digest_end or stored.code_digest,
    )


def _read_provenance(path: Path) -> Provenance | None:
    if not path.exists():
        return None
    try:
        return _PROVENANCE.decode(_content(path))
    except (ValueError, RecursionError) as error:
        raise BenchError(
            f"{path} is not valid: {_reason(error)} Restore it, or delete it to keep the record "
            "without its times."
        ) from error


def _read_otherwise(path: Path, text: bytes, error: Exception) -> RunRecord:
    """Read a file that is no `StoredRecord`: a record in one file, of any schema version."""
    try:
        fields = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as reason:
        raise BenchError(
            f"{path} is not a record ({reason}); delete it and run the cell again."
        ) from error
    _refuse_newer(path, fields.get("schema_version") if isinstance(fields, dict) else None)
    if not isinstance(fields, dict) or isinstance(fields.get("curve"), dict):  # has columns
        raise BenchError(f"{path} is not a valid record: {_reason(error)}") from error
    try:
        return _WHOLE.decode(msgspec.json.encode(upgrade(fields)))
    except (ValueError, RecursionError) as reason:
        raise BenchError(f"{path} is not a valid record: {_reason(reason)}") from reason


def _refuse_newer(path: Path, version: object) -> None:
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise BenchError(
            f"{path} has schema version {version}, but this program knows versions up to "
            f"{SCHEMA_VERSION}; update dpap-bench."
        )


def _reason(error: Exception) -> str:
    """Return what is wrong with a file, as the end of a sentence."""
    cause = error.__cause__
    if isinstance(cause, pydantic.ValidationError):
        # msgspec names the path of the pydantic model, pydantic the path within the model.
        first = cause.errors()[0]
        model = str(error).rpartition("$.")[2].rstrip("`")
        return f"{'.'.join([model, *map(str, first['loc'])])}: {first['msg']}."
    return f"{error}."


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a number in JSON")


def _content(path: Path) -> bytes:
    try:
        return read_small_file(path)
    except OSError as error:
        raise BenchError(
            f"{path} cannot be read ({error}); fix that, or delete the record and run its cell "
            "again."
        ) from error
