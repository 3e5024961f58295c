"""Records made by hand."""

from __future__ import annotations

from datetime import UTC, datetime

from pipelines.core.cost import Cost
from pipelines.core.layouts import Execution
from pipelines.core.record import Outcome, RunRecord, environment
from pipelines.core.train import EpochPoint
from pipelines.grid import Params


def record(
    params: Params,
    method: str,
    seed: int,
    accuracy: float,
    density: float | str = 0.5,
    status: str = "ok",
    workload: str = "digits-snn",
    granularity: str | None = None,
) -> RunRecord:
    spec = params.spec(workload, method, granularity, 1.0 if method == "dense" else density, seed)
    cost = Cost(
        density=spec.target or 0.4,
        prunable=100,
        parameters=60,
        macs=1000,
        effective_macs=10.0,
        synops=200.0,
        energy_nanojoule=0.2,
        latency_milliseconds={1: 0.5, 128: 5.0},
        masked_latency_milliseconds={1: 0.6, 128: 6.0},
        layers={},
    )
    point = EpochPoint(
        samples=10,
        train_loss=1.0,
        validation_accuracy=0.9,
        validation_loss=0.5,
        density=0.7,
        firing_rate=0.1,
        learning_rate=0.001,
        seconds=1.5,
    )
    return RunRecord(
        run_id=spec.run_id,
        spec=spec,
        status=status,
        outcome=None
        if status in ("diverged", "failed")
        else Outcome(
            test_accuracy=accuracy, test_loss=0.1, validation_accuracy=0.9, layout="x", cost=cost
        ),
        curve=[point, point],
        budget=100,
        spent={"training": 100},
        started_at=datetime(2026, 1, 2, tzinfo=UTC),
        train_seconds=2.0,
        total_seconds=3.0,
        environment=environment(1, Execution()),
        code_digest="a" * 64,
        code_digest_end="a" * 64,
    )


def control(one: RunRecord, kind: str, accuracy: float, status: str = "ok") -> RunRecord:
    """A control of a record."""
    spec = one.spec.model_copy(update={"control": kind})
    assert one.outcome is not None
    outcome = one.outcome.model_copy(update={"test_accuracy": accuracy})
    changes = {"spec": spec, "run_id": spec.run_id, "outcome": outcome, "status": status}
    return one.model_copy(update=changes | {"parent": one.trajectory.digest})
