"""What is kept of an outcome, and how two of them are compared."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from pipelines.boards.params import Params
from pipelines.canaries.outcomes import DIGITS, PARTS, Result, deviation, difference, result_of
from pipelines.records.outcome import Cost, EpochPoint, LayerCost, Outcome
from pipelines.records.record import RunRecord
from pipelines.records.trajectory import Moment, Trajectory
from tests.helpers.diverged import digits_cell, diverged_record

REFERENCE = Result("ok", 2.0, 0.5, 0.4, 1000.0, "a-b-c-d-e")


@pytest.fixture(scope="module")
def record(params: Params) -> RunRecord:
    """A finished record, made by hand."""
    layer = LayerCost(
        density=0.5, dense_operations=8, effective_macs=0.0, effective_acs=3.0, firing_rate=0.1
    )
    cost = Cost(
        density=0.4,
        prunable=10,
        parameters=9,
        macs=8,
        effective_macs=1.0,
        synops=3.0,
        energy_nanojoule=0.5,
        latency_milliseconds={1: 0.5},
        masked_latency_milliseconds={1: 0.6},
        layers={"conv1": layer},
    )
    outcome = Outcome(
        test_accuracy=0.75,
        test_loss=0.9,
        validation_accuracy=0.7,
        layout="2C3",
        cost=cost,
        confusion=[[3, 1], [0, 4]],
    )
    point = EpochPoint(
        samples=10,
        train_loss=1.0,
        validation_accuracy=0.7,
        validation_loss=0.81234,
        density=0.4,
        firing_rate=0.1,
        learning_rate=0.01,
        seconds=1.5,
    )
    trajectory = Trajectory(moments=(Moment(progress=0.5, units={"conv1": 1}),))
    bare = diverged_record(digits_cell(params))
    return replace(
        bare, status="ok", message="", outcome=outcome, curve=[point], trajectory=trajectory
    )


def changed_parts(record: RunRecord, other: RunRecord) -> set[str]:
    pairs = zip(
        result_of(record).hashes.split("-"), result_of(other).hashes.split("-"), strict=True
    )
    return {part for part, (old, new) in zip(PARTS, pairs, strict=True) if old != new}


def test_the_figures_of_a_record(record: RunRecord) -> None:
    found = result_of(record)
    assert found[:5] == ("ok", 0.8123, 0.75, 0.4, 3.0)
    assert [len(part) for part in found.hashes.split("-")] == [DIGITS] * len(PARTS)


def test_a_run_without_an_outcome_has_a_result(params: Params) -> None:
    assert result_of(diverged_record(digits_cell(params)))[0] == "diverged"
    assert result_of(diverged_record(digits_cell(params)))[2:5] == (None, None, None)


def test_times_and_environment_count_in_no_part(record: RunRecord) -> None:
    point = replace(record.curve[0], seconds=9.0)
    assert record.outcome is not None
    cost = replace(record.outcome.cost, latency_milliseconds={1: 9.0})
    other = replace(
        record,
        started_at=datetime(2030, 1, 1, tzinfo=UTC),
        train_seconds=9.0,
        total_seconds=9.0,
        curve=[point],
        outcome=replace(record.outcome, cost=cost),
        environment=record.environment.model_copy(update={"processor": "another"}),
        code_digest="0" * 64,
        code_digest_end="0" * 64,
    )
    assert changed_parts(record, other) == set()


def test_every_figure_counts_in_its_part(record: RunRecord) -> None:
    outcome = record.outcome
    assert outcome is not None
    layers = {"conv1": replace(outcome.cost.layers["conv1"], firing_rate=0.2)}
    for part, change in (
        ("run", {"status": "off-target"}),
        ("run", {"spent": {"training": 1}}),
        ("curve", {"curve": [replace(record.curve[0], train_loss=1.0 + 2**-52)]}),
        ("masks", {"trajectory": Trajectory()}),
        ("masks", {"outcome": replace(outcome, layout="1C3")}),
        ("accuracy", {"outcome": replace(outcome, confusion=[[4, 0], [0, 4]])}),
        ("cost", {"outcome": replace(outcome, cost=replace(outcome.cost, synops=4.0))}),
        ("cost", {"outcome": replace(outcome, cost=replace(outcome.cost, layers=layers))}),
    ):
        assert changed_parts(record, replace(record, **change)) == {part}, change


def test_a_difference_names_the_parts() -> None:
    other = REFERENCE._replace(loss=2.5, hashes="a-x-c-d-y")
    assert difference("lamp", REFERENCE, REFERENCE) == ""
    assert difference("lamp", REFERENCE, other) == (
        "lamp: differs in curve, cost: ok, loss 2, accuracy 0.5, density 0.4, synops 1000 -> "
        "ok, loss 2.5, accuracy 0.5, density 0.4, synops 1000"
    )


def test_figures_of_another_environment_may_differ_by_the_tolerances() -> None:
    for near in (
        {"hashes": "v-w-x-y-z"},
        {"accuracy": 0.64},
        {"loss": 2.49},
        {"density": 0.409},
        {"synops": 1340.0},
        {"status": "off-target"},
    ):
        assert deviation("lamp", "unstructured", REFERENCE, REFERENCE._replace(**near)) == ""
    for word, far in (
        ("accuracy", {"accuracy": 0.34}),
        ("loss", {"loss": 2.51}),
        ("density", {"density": 0.411}),
        ("synops", {"synops": 1360.0}),
        ("status", {"status": "diverged", "accuracy": None}),
    ):
        said = deviation("lamp", "unstructured", REFERENCE, REFERENCE._replace(**far))
        assert said.startswith(f"lamp: differs in {word}: ok, loss 2,"), said
    wide = REFERENCE._replace(density=0.439)
    assert deviation("lamp", "structured", REFERENCE, wide) == ""
