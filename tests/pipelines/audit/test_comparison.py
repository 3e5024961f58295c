"""Comparison with a second run: exact in the same environment, within limits elsewhere."""

from __future__ import annotations

from msgspec.structs import replace

from pipelines.audit.comparison import differences
from pipelines.records.record import RunRecord


def claim(record: RunRecord) -> RunRecord:
    """The record with a test accuracy that is 0.1 too high."""
    assert record.outcome is not None
    assert record.outcome.test_accuracy is not None
    outcome = replace(record.outcome, test_accuracy=record.outcome.test_accuracy + 0.1)
    return replace(record, outcome=outcome)


def test_in_the_same_environment_every_field_is_compared(made: list[RunRecord]) -> None:
    record = made[0]
    assert not differences(record, record)
    slower = replace(record, train_seconds=99.0, total_seconds=99.0)
    assert not differences(slower, record), "timings are not compared"
    assert differences(claim(record), record) == ["outcome differs in a second run."]


def test_on_another_machine_accuracies_may_differ_a_little(made: list[RunRecord]) -> None:
    record = made[0]
    environment = record.environment.model_copy(update={"processor": "another"})
    assert not differences(replace(record, environment=environment), record)
    claimed = replace(claim(record), environment=environment)
    assert "has test accuracy" in differences(claimed, record)[0]


def test_other_code_is_not_a_difference_by_itself(made: list[RunRecord]) -> None:
    older = replace(made[0], code_digest="0", code_digest_end="0")
    assert not differences(older, made[0])


def test_another_status_is_a_difference(made: list[RunRecord]) -> None:
    diverged = replace(made[1], status="diverged", message="loss is nan")
    assert differences(made[0], diverged) == ["is ok, but a second run is diverged: loss is nan"]
