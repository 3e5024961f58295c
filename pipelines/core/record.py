"""RunRecord: the truth about one run, as a small JSON file."""

from __future__ import annotations

import json
import platform
from datetime import datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipelines.core import fused, triton_scan
from pipelines.core.cost import Cost
from pipelines.core.device import device_name
from pipelines.core.errors import BenchError
from pipelines.core.layouts import Execution, NetworkSpec
from pipelines.core.spec import RunSpec
from pipelines.core.train import EpochPoint
from pipelines.core.trajectory import Trajectory

#: Raised with every new field: a program that does not know the field then says what to do.
#: 2: membrane updates, activation sparsity and connection sparsity of `Cost`. 3: the confusion
#: matrix of `Outcome`.
SCHEMA_VERSION = 3

#: ``ok``: ranked. The others stay as rows: the loss was not finite; the density missed its
#: target; the method asked for more samples than the budget; anything else went wrong.
Status = Literal["ok", "diverged", "off-target", "over-budget", "failed"]


class Environment(BaseModel):
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

    model_config = ConfigDict(extra="forbid", frozen=True)

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


class Outcome(BaseModel):
    """What a run reached; the test split was opened once, on the last iterate.

    A trial of the tuning never opens it: it has no test figures, and its cost is that on the
    validation split.

    Parameters
    ----------
    test_accuracy, validation_accuracy
        Right / all, in [0, 1].
    test_loss
        Mean over the samples.
    layout
        Of the compacted network.
    cost
        What the compacted network costs.
    confusion
        Test samples by true class (row) and answer (column). None for more than 20 classes, or
        not measured then.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    test_accuracy: float | None
    test_loss: float | None
    validation_accuracy: float
    layout: str
    cost: Cost
    confusion: list[list[int]] | None = None


class RunRecord(BaseModel):
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

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int = SCHEMA_VERSION
    run_id: str
    spec: RunSpec
    status: Status
    message: str = ""
    outcome: Outcome | None = None
    curve: list[EpochPoint] = Field(default_factory=list)
    budget: int
    spent: dict[str, int] = Field(default_factory=dict)
    started_at: datetime
    train_seconds: float
    total_seconds: float
    trajectory: Trajectory = Trajectory()
    checkpoint: str = ""
    parent: str = ""
    environment: Environment
    code_digest: str
    code_digest_end: str

    @model_validator(mode="after")
    def _only_trials_have_no_test_figures(self) -> Self:
        if self.outcome and (self.outcome.test_accuracy is None) != self.spec.tuning:
            raise ValueError("a trial never opens the test split, and any other run does")
        return self

    def to_json(self) -> str:
        """JSON with sorted keys and a final newline."""
        fields = self.model_dump(mode="json")
        return json.dumps(fields, sort_keys=True, indent=1, allow_nan=False) + "\n"


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


def read_record(path: Path) -> RunRecord:
    """Read one record.

    Raises
    ------
    BenchError
        If the file is no record, was made by a newer schema, or names another run_id than its
        spec has.
    """
    try:
        text = path.read_bytes()
        record = RunRecord.model_validate_json(text)
    except OSError as error:
        raise BenchError(
            f"{path} cannot be read ({error}); mend that, or delete it and run again."
        ) from error
    except ValidationError as error:
        raise BenchError(f"{path} {_fault(text, error)}") from error
    if record.schema_version > SCHEMA_VERSION:
        raise BenchError(f"{path} {_newer(record.schema_version)}")
    if record.run_id != record.spec.run_id:
        raise BenchError(f"{path} was edited: its run_id is not that of its spec.")
    return record


def _newer(version: int) -> str:
    return (
        f"has schema version {version}, this program knows up to {SCHEMA_VERSION}; "
        "update dpap-bench."
    )


def _fault(text: bytes, error: ValidationError) -> str:
    """Say what is wrong with a file that is no record."""
    try:
        fields = json.loads(text)
    except ValueError as reason:
        return f"is no record ({reason}); delete it and run again."
    found = fields.get("schema_version") if isinstance(fields, dict) else None
    if isinstance(found, int) and found > SCHEMA_VERSION:
        return _newer(found)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"is no valid record: {where}: {first['msg']}."


@cache
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _plan(execution: Execution, device: torch.device, network: NetworkSpec | None) -> str:
    """How networks are really computed."""
    if execution.plan != "fused" or fused.available(like := torch.zeros(1, device=device)):
        return execution.plan
    spiking = network is None or network.kind == "snn"  # for a ReLU, Triton has nothing to do
    steps = 1 if network is None else network.time_steps
    return "fused" if spiking and triton_scan.available(like, steps) else "folded"


def environment(
    threads: int,
    execution: Execution,
    device: torch.device = torch.device("cpu"),  # noqa: B008 -- immutable
    network: NetworkSpec | None = None,
) -> Environment:
    """Describe this machine, its libraries, and how the network was really computed."""
    return Environment(
        python=platform.python_version(),
        torch=torch.__version__,
        snntorch=version("snntorch"),
        torch_pruning=version("torch-pruning"),
        platform=f"{platform.system()}-{platform.machine()}",
        processor=_processor(),
        device=device_name(device),
        threads=threads,
        precision=execution.precision,
        plan=_plan(execution, device, network),
    )
