"""RunRecord: the truth about one run, as a small JSON file."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec
import pydantic
from msgspec import field

from pipelines.common.errors import BenchError
from pipelines.common.structs import Struct, as_json, decoder
from pipelines.records.outcome import EpochPoint, Outcome
from pipelines.records.trajectory import Trajectory
from pipelines.settings.spec import RunSpec

#: Raised with every new field: a program that does not know the field then says what to do.
#: 2: membrane updates, activation sparsity and connection sparsity of `Cost`. 3: the confusion
#: matrix of `Outcome`.
SCHEMA_VERSION = 3

#: ``ok``: ranked. The others stay as rows: the loss was not finite; the density missed its
#: target; the method asked for more samples than the budget; anything else went wrong.
Status = Literal["ok", "diverged", "off-target", "over-budget", "failed"]


class Environment(pydantic.BaseModel):
    """Where a run happened.

    Parameters
    ----------
    python, torch, snntorch, torch_pruning
        Versions.
    platform, processor
        Operating system and CPU.
    device
        ``cpu``, or the name of the GPU.
    threads
        CPU threads of the run.
    precision, plan
        How it was computed, which may be less than its workload asked for (`Execution`).
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    python: str
    torch: str
    snntorch: str
    torch_pruning: str
    platform: str
    processor: str
    device: str
    threads: int
    precision: str
    plan: str = "folded"


class RunRecord(Struct, frozen=True, kw_only=True):
    """One run: what was asked, what came out, with which code, where.

    Parameters
    ----------
    spec, run_id
        The cell, and its hash.
    status, message
        See `Status`; a sentence unless it is ``ok``.
    outcome
        None if the run did not reach its end.
    curve
        One point per epoch.
    budget, spent
        Samples allowed, and charged by phase.
    started_at
        Date and time, UTC.
    train_seconds
        Wall-clock of training, evaluations left out.
    total_seconds
        Wall-clock of the whole run.
    trajectory
        What was kept over the run.
    checkpoint
        Post-training: SHA-256 of the dense network that it started from.
    parent
        A control: digest of the trajectory that it followed.
    code_digest, code_digest_end
        Digest of the result-affecting code at the start and at the end.
    """

    schema_version: int = SCHEMA_VERSION
    run_id: str
    spec: RunSpec
    status: Status
    message: str = ""
    outcome: Outcome | None = None
    curve: list[EpochPoint] = field(default_factory=list)
    budget: int
    spent: dict[str, int] = field(default_factory=dict)
    started_at: datetime
    train_seconds: float
    total_seconds: float
    trajectory: Trajectory = Trajectory()
    checkpoint: str = ""
    parent: str = ""
    environment: Environment
    code_digest: str
    code_digest_end: str

    def __post_init__(self) -> None:
        if self.outcome and (self.outcome.test_accuracy is None) != self.spec.tuning:
            raise ValueError("a trial never opens the test split, and any other run does")

    def to_json(self) -> str:
        """JSON with sorted keys and a final newline."""
        return json.dumps(as_json(self), sort_keys=True, indent=1, allow_nan=False) + "\n"


#: Fields that differ between two runs of the same cell with the same code.
TIMINGS = frozenset(
    {
        "seconds",
        "started_at",
        "train_seconds",
        "total_seconds",
        "latency_milliseconds",
        "masked_latency_milliseconds",
    }
)

_DECODER = decoder(RunRecord)


def read_record(path: Path, spec: RunSpec | None = None) -> RunRecord:
    """Read one record.

    Parameters
    ----------
    path
        A file of the store.
    spec
        The cell whose run_id names the file, if that is known: it need not be hashed again.

    Raises
    ------
    BenchError
        If the file is no record, was made by a newer schema, or names another run_id than its
        spec has.
    """
    try:
        text = _content(path)
        record = _DECODER.decode(text)
    except OSError as error:
        raise BenchError(
            f"{path} cannot be read ({error}); mend that, or delete it and run again."
        ) from error
    except msgspec.DecodeError as error:
        raise BenchError(f"{path} {_fault(text, error)}") from error
    if record.schema_version > SCHEMA_VERSION:
        raise BenchError(f"{path} {_newer(record.schema_version)}")
    known = spec is not None and record.spec == spec
    if record.run_id != (path.stem if known else record.spec.run_id):
        raise BenchError(f"{path} was edited: its run_id is not that of its spec.")
    return record


def _content(path: Path) -> bytes:
    """Read a small file with as few calls of the system as there can be: stores have thousands."""
    file = os.open(path, os.O_RDONLY)
    try:
        size = os.fstat(file).st_size
        text = os.read(file, size)
        while len(text) < size and (more := os.read(file, size - len(text))):
            text += more
        return text
    finally:
        os.close(file)


def _newer(version: int) -> str:
    return (
        f"has schema version {version}, this program knows up to {SCHEMA_VERSION}; "
        "update dpap-bench."
    )


def _fault(text: bytes, error: msgspec.DecodeError) -> str:
    """Say what is wrong with a file that is no record."""
    try:
        fields = json.loads(text, parse_constant=_refuse)
    except ValueError as reason:
        return f"is no record ({reason}); delete it and run again."
    found = fields.get("schema_version") if isinstance(fields, dict) else None
    if isinstance(found, int) and found > SCHEMA_VERSION:
        return _newer(found)
    if isinstance(cause := error.__cause__, pydantic.ValidationError):
        first, part = cause.errors()[0], str(error).rpartition("$.")[2].rstrip("`")
        where = ".".join([part, *map(str, first["loc"])])
        return f"is no valid record: {where}: {first['msg']}."
    return f"is no valid record: {error}."


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number in JSON")
