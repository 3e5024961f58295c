"""What a run kept over its training, by hand."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from pipelines.boards.params import Params
from pipelines.records.record import RunRecord
from pipelines.records.trajectory import Moment, Trajectory
from pipelines.report.analysis.history import history, reached, share_at
from tests.helpers.handmade import record


def pruned(params: Params, *moments: Moment, granularity: str = "structured") -> RunRecord:
    """A run of digits-snn, 16C3-MP2-32C3-MP2-64FC."""
    one = record(params, "magnitude", 0, 0.9, granularity=granularity)
    return replace(one, trajectory=Trajectory(moments=moments))


def test_weights_follow_from_the_units_around_them(params: Params) -> None:
    found = history(
        pruned(
            params,
            Moment(progress=0.2, units={"conv2": 24}),
            Moment(progress=0.4, units={"conv1": 8, "conv2": 16}),
        )
    )
    assert found is not None
    assert found.size == {"conv1": (16, 144), "conv2": (32, 4608), "fc1": (64, 8192)}
    assert found.units == {
        "conv1": ((0.0, 1.0), (0.4, 0.5)),
        "conv2": ((0.0, 1.0), (0.2, 0.75), (0.4, 0.5)),
    }
    assert found.weights["conv2"] == ((0.0, 1.0), (0.2, 0.75), (0.4, 0.25))
    assert found.weights["fc1"] == ((0.0, 1.0), (0.2, 0.75), (0.4, 0.5)), "it lost inputs"


def test_counted_weights_are_as_counted(params: Params) -> None:
    moment = Moment(progress=0.3, weights={"fc1": 2048})
    found = history(pruned(params, moment, granularity="unstructured"))
    assert found is not None
    assert found.units == {}
    assert found.weights["fc1"] == ((0.0, 1.0), (0.3, 0.25))
    assert found.weights["conv1"] == ((0.0, 1.0),)
    assert history(pruned(params)) is None


def test_when_a_fraction_is_gone() -> None:
    line = ((0.0, 1.0), (0.2, 0.8), (0.5, 0.6), (0.7, 0.2))
    assert [reached(line, part) for part in (0.1, 0.5, 1.0)] == [0.2, 0.5, 0.7]
    assert reached(((0.0, 1.0),), 1.0) is None
    assert [share_at(line, when) for when in (0.0, 0.5, 0.6)] == pytest.approx([1.0, 0.6, 0.6])
