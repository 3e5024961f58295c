"""RunRecord: everything that is known about one run; `pipelines.records.files` stores it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Literal

import pydantic
from msgspec import field

from pipelines.common.structs import Positive, Struct, Whole, as_json
from pipelines.records.outcome import EpochPoint, Outcome
from pipelines.records.trajectory import Trajectory
from pipelines.settings.rules import RULES_VERSION
from pipelines.settings.spec import RunSpec

#: Version of the record format. Raise it with every new field: an older program, which would refuse
#: the unknown field, then asks for an update instead.
#:
#: - 2: membrane updates, activation sparsity and connection sparsity of `Cost`.
#: - 3: the confusion matrix of `Outcome`.
#: - 4: `rules_version`, `Outcome.correct`, `Environment.capability`, `Environment.compiler`;
#:   `RunSpec.matched_to` was ``twin_of``; the record may be without times and environment. Files
#:   are small, see `pipelines.records.files`.
#:
#: Records of older versions are upgraded when they are read (`pipelines.records.upgrade`).
SCHEMA_VERSION = 4

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
        ``fused``, but the machine cannot compute that; ``module`` for the network of a factory.
    capability
        Instruction set of the CPU that PyTorch uses, such as ``AVX512``; empty in old records.
    compiler
        Version of the C compiler of the kernels; empty if the plan has none, and in old records.
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
    capability: str = ""
    compiler: str = ""


class RunRecord(Struct, frozen=True, kw_only=True):
    """The record of one run: its spec, its outcome, its code and its environment.

    Parameters
    ----------
    schema_version
        Version of the record format, see `SCHEMA_VERSION`.
    rules_version
        Version of the rules of the comparison, see `RULES_VERSION`.
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
        Date and time of the start, UTC; None if the file of times and environment is missing.
    train_seconds
        Wall-clock time of training without evaluations, in s; None as above.
    total_seconds
        Wall-clock time of the whole run, in s; None as above.
    trajectory
        Numbers of kept units and weights during the run.
    checkpoint
        On the post-training track, digest of the dense checkpoint that the run started from; else
        empty.
    parent
        Of a control, digest of the trajectory that it followed; else empty.
    environment
        The machine and the software; None as above.
    interruptions
        How often the run was interrupted and went on from its resume point. Times before and after
        are added.
    code_digest, code_digest_end
        Digest of the code that the run uses, as imported, at the start and at the end of the run.
    """

    schema_version: int = SCHEMA_VERSION
    rules_version: int = RULES_VERSION
    run_id: str
    spec: RunSpec
    status: Status
    message: str = ""
    outcome: Outcome | None = None
    curve: list[EpochPoint] = field(default_factory=list)
    budget: Positive
    spent: dict[str, Whole] = field(default_factory=dict)
    started_at: datetime | None = None
    train_seconds: float | None = None
    total_seconds: float | None = None
    trajectory: Trajectory = Trajectory()
    checkpoint: str = ""
    parent: str = ""
    environment: Environment | None = None
    interruptions: int = 0
    code_digest: str
    code_digest_end: str

    def __post_init__(self) -> None:
        if self.outcome and (self.outcome.test_accuracy is None) != self.spec.tuning:
            raise ValueError(
                "a tuning trial has no test accuracy, and every other finished run has one"
            )

    def to_json(self) -> str:
        """Return all fields as one JSON document with sorted keys and a final newline."""
        return json.dumps(as_json(self), sort_keys=True, indent=1, allow_nan=False) + "\n"


def environments_of(records: Iterable[RunRecord]) -> tuple[Environment, ...]:
    """Return the environments of records, each once, in a fixed order."""
    found = {record.environment for record in records if record.environment is not None}
    return tuple(sorted(found, key=Environment.model_dump_json))


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
        "interruptions",
    }
)
