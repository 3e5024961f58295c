"""RunRecord: everything that is known about one run, stored as a small JSON file."""

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

#: Version of the record format. Raise it with every new field: an older program, which would refuse
#: the unknown field, then asks for an update instead.
#:
#: - 2: membrane updates, activation sparsity and connection sparsity of `Cost`.
#: - 3: the confusion matrix of `Outcome`.
SCHEMA_VERSION = 3

#: How a run ended. Only runs that are ``ok`` are ranked; the others are shown as rows of their own.
#:
#: - ``ok``: the run reached its end and its target density.
#: - ``diverged``: the loss was not finite.
#: - ``off-target``: the density missed its target.
#: - ``over-budget``: the method asked for more samples than the budget holds.
#: - ``failed``: an exception was raised.
Status = Literal["ok", "diverged", "off-target", "over-budget", "failed"]


class Environment(pydantic.BaseModel):
    """The machine and the software of a run.

    Parameters
    ----------
    python, torch, snntorch, torch_pruning
        Versions of Python and of the libraries.
    platform, processor
        Operating system and CPU.
    device
        ``cpu``, or the name of the GPU.
    threads
        Number of CPU threads of the run.
    precision
        Precision of the run, see `Execution`.
    plan
        Plan that computed the run, see `Execution`. It is ``folded`` if the workload asks for
        ``fused``, but the machine cannot compute that.
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
    """The record of one run: its spec, its outcome, its code and its environment.

    Parameters
    ----------
    schema_version
        Version of the record format, see `SCHEMA_VERSION`.
    run_id
        Hash of the spec, which names the file.
    spec
        The cell.
    status
        How the run ended, see `Status`.
    message
        A sentence about the status; empty if it is ``ok``.
    outcome
        Results of the finished network; None if the run did not reach its end.
    curve
        One point per epoch.
    budget
        Number of training samples that the run may use.
    spent
        Phase (``training``, ``saliency``) -> samples charged to the budget.
    started_at
        Date and time of the start, UTC.
    train_seconds
        Wall-clock time of training without evaluations, in s.
    total_seconds
        Wall-clock time of the whole run, in s.
    trajectory
        Numbers of kept units and weights during the run.
    checkpoint
        On the post-training track, digest of the dense checkpoint that the run started from; else
        empty.
    parent
        Of a control, digest of the trajectory that it followed; else empty.
    environment
        The machine and the software.
    code_digest, code_digest_end
        Digest of the code that the run uses, as imported, at the start and at the end of the run.
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
            raise ValueError(
                "a tuning trial has no test accuracy, and every other finished run has one"
            )

    def to_json(self) -> str:
        """Return the record as JSON text with sorted keys and a final newline."""
        return json.dumps(as_json(self), sort_keys=True, indent=1, allow_nan=False) + "\n"


#: Names of fields, at any depth, that hold times. Two runs of one cell differ in these fields only,
#: if code and environment are the same.
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
        A JSON file.
    spec
        The cell whose run_id is the file's name. If it is given, and the record has this spec, the
        spec is not hashed again.

    Raises
    ------
    BenchError
        If the file cannot be read, is not a record, has a newer schema version, or if its run_id
        is not that of its spec.
    """
    try:
        text = _content(path)
        record = _DECODER.decode(text)
    except OSError as error:
        raise BenchError(
            f"{path} cannot be read ({error}); fix that, or delete the file and run the cell again."
        ) from error
    except msgspec.DecodeError as error:
        raise BenchError(f"{path} {_fault(text, error)}") from error
    if record.schema_version > SCHEMA_VERSION:
        raise BenchError(f"{path} {_newer(record.schema_version)}")
    named_after_spec = spec is not None and record.spec == spec
    expected = path.stem if named_after_spec else record.spec.run_id
    if record.run_id != expected:
        raise BenchError(f"{path} was edited: its run_id is not that of its spec.")
    return record


def _content(path: Path) -> bytes:
    """Read a small file with few system calls: a store has thousands of files."""
    file = os.open(path, os.O_RDONLY)
    try:
        size = os.fstat(file).st_size
        text = os.read(file, size)
        while len(text) < size:  # os.read may return less than asked for
            more = os.read(file, size - len(text))
            if not more:
                break
            text += more
        return text
    finally:
        os.close(file)


def _newer(version: int) -> str:
    return (
        f"has schema version {version}, but this program knows versions up to {SCHEMA_VERSION}; "
        "update dpap-bench."
    )


def _fault(text: bytes, error: msgspec.DecodeError) -> str:
    """Return the end of a sentence that says why a file is not a record."""
    try:
        fields = json.loads(text, parse_constant=_refuse)
    except ValueError as reason:
        return f"is not a record ({reason}); delete it and run the cell again."
    version = fields.get("schema_version") if isinstance(fields, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        return _newer(version)
    cause = error.__cause__
    if isinstance(cause, pydantic.ValidationError):
        # msgspec names the path of the pydantic model, pydantic the path within the model.
        first = cause.errors()[0]
        model = str(error).rpartition("$.")[2].rstrip("`")
        field_path = ".".join([model, *map(str, first["loc"])])
        return f"is not a valid record: {field_path}: {first['msg']}."
    return f"is not a valid record: {error}."


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a number in JSON")
