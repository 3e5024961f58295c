"""A cell of the digits, and a record of it without an outcome, made without training."""

from __future__ import annotations

from datetime import UTC, datetime

from msgspec.structs import replace

from pipelines.boards.params import Params
from pipelines.records.digest import code_digest
from pipelines.records.record import RunRecord
from pipelines.settings.network import Execution
from pipelines.settings.spec import RunSpec
from pipelines.training.environment import environment


def digits_cell(params: Params, **changes: object) -> RunSpec:
    """A cell of params.yaml, with some fields changed."""
    spec = params.spec("digits-snn", "magnitude", "structured", 0.25, 0)
    return replace(spec, **changes)


def diverged_record(spec: RunSpec, **changes: object) -> RunRecord:
    """The record of a run that diverged, made by the current code, with some fields changed."""
    digest = code_digest(spec)
    fields = {
        "run_id": spec.run_id,
        "spec": spec,
        "status": "diverged",
        "message": "loss is nan",
        "budget": 10,
        "started_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "train_seconds": 1.0,
        "total_seconds": 2.0,
        "environment": environment(1, Execution()),
        "code_digest": digest,
        "code_digest_end": digest,
    }
    return RunRecord(**(fields | changes))
