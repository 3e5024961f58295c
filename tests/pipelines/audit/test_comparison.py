"""Comparison with a second run: exact in the same environment, within limits elsewhere."""

from __future__ import annotations

import math

import pytest
from msgspec.structs import replace

from pipelines.audit.comparison import Scatter, apart, average_differences, differences, is_here
from pipelines.records.record import RunRecord


def claim(record: RunRecord) -> RunRecord:
    """The record with a test accuracy that is 0.2 too high."""
    assert record.outcome is not None
    assert record.outcome.test_accuracy is not None
    outcome = replace(record.outcome, test_accuracy=record.outcome.test_accuracy + 0.2)
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


def test_another_compiler_is_another_environment_if_the_record_names_one(
    made: list[RunRecord],
) -> None:
    assert made[0].environment is not None
    twelve, thirteen, unknown = (
        replace(made[0], environment=made[0].environment.model_copy(update={"compiler": name}))
        for name in ("cc 12.2", "cc 13.1", "")
    )
    assert is_here(twelve, twelve)
    assert not is_here(twelve, thirteen)
    assert is_here(unknown, thirteen), "an old record"


def test_other_code_is_not_a_difference_by_itself(made: list[RunRecord]) -> None:
    older = replace(made[0], code_digest="0", code_digest_end="0")
    assert not differences(older, made[0])


def test_another_status_is_a_difference(made: list[RunRecord]) -> None:
    diverged = replace(made[1], status="diverged", message="loss is nan")
    assert differences(made[0], diverged) == ["is ok, but a second run is diverged: loss is nan"]


def elsewhere(record: RunRecord, test: float, factor: float = 1.0, seed: int = 0) -> RunRecord:
    """The record with another seed, accuracy, processor, and number of operations on spikes."""
    assert record.outcome is not None
    assert record.environment is not None
    cost = replace(record.outcome.cost, synops=100.0 * factor)
    return replace(
        record,
        spec=replace(record.spec, seed=seed),
        outcome=replace(record.outcome, test_accuracy=test, validation_accuracy=test, cost=cost),
        environment=record.environment.model_copy(update={"processor": "another"}),
    )


def test_the_scatter_of_a_row_is_that_of_its_seeds(made: list[RunRecord]) -> None:
    row = [elsewhere(made[0], value, seed=seed) for seed, value in enumerate((0.8, 0.82, 0.84))]
    scatter = Scatter(row)
    assert scatter.of(row[0], "test accuracy") == pytest.approx(0.02), "by hand"
    assert apart(row[1], row[0], scatter)["test accuracy"] == pytest.approx(1 / math.sqrt(2))
    other = replace(elsewhere(made[0], 0.5), spec=replace(row[0].spec, density=0.25))
    pooled = 0.02 * math.sqrt(0.25 / (0.82 * 0.18))  # the same multiple of p (1 - p)
    assert scatter.of(other, "test accuracy") == pytest.approx(pooled)
    equal = [elsewhere(made[0], 1.0, seed=seed) for seed in range(3)]
    assert Scatter(equal).of(equal[0], "test accuracy") == 0.003, "the smallest one"


def test_the_scatter_is_at_least_what_the_samples_explain(made: list[RunRecord]) -> None:
    equal = [elsewhere(made[0], 0.9, seed=seed) for seed in range(3)]
    sampled = math.sqrt(0.9 * 0.1 / 450 / 2)  # the digits have 450 test samples
    assert Scatter(equal).of(equal[0], "test accuracy") == pytest.approx(sampled)


def test_elsewhere_no_record_is_better_or_cheaper_on_average(made: list[RunRecord]) -> None:
    values = (0.80, 0.82, 0.84)
    row = [elsewhere(made[0], value, seed=seed) for seed, value in enumerate(values)]
    second = [replace(record, environment=made[0].environment) for record in row]
    scatter = Scatter(row)

    def found(records: list[RunRecord]) -> str:
        return " ".join(average_differences(list(zip(records, second, strict=True)), scatter))

    def changed(points: float, factor: float = 1.0) -> list[RunRecord]:
        return [
            elsewhere(record, value + points, factor, seed)
            for seed, (record, value) in enumerate(zip(row, values, strict=True))
        ]

    assert not found(row)
    assert not found(changed(0.04)), "sqrt(3) x 0.04 / (sqrt(2) x 0.02) = 2.4 standard errors"
    assert "3 records whose test accuracy is better than that of" in found(changed(0.05))
    assert not found(changed(-0.05)), "nobody forges a worse record"
    assert not found(changed(0, 0.8)), "ln 0.8 = -0.22; three cells may differ by 0.27"
    assert "whose synops is 0.70 times that of second runs" in found(changed(0, 0.7))
    assert not list(average_differences([(made[0], made[0])] * 3, scatter)), "equal to the bit here"


def test_elsewhere_a_run_may_just_miss_its_target(made: list[RunRecord]) -> None:
    record = elsewhere(made[0], 0.8)
    missed = replace(record, status="off-target", message="density", environment=None)
    assert not differences(record, missed)
    assert differences(record, replace(missed, status="failed", outcome=None))
