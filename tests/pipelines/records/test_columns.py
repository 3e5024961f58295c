"""Columns: curve and trajectory come back from them as they were."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.records.columns import CurveColumns, TrajectoryColumns
from pipelines.records.outcome import EpochPoint
from pipelines.records.trajectory import Moment, Trajectory

COUNTS = st.dictionaries(st.sampled_from(["conv1", "fc1"]), st.integers(0, 99))
MOMENTS = st.builds(
    Moment,
    progress=st.floats(0, 1) | st.integers(0, 1000).map(lambda n: n / 1000),
    units=COUNTS,
    weights=COUNTS,
    steps=COUNTS,
)


@given(st.lists(MOMENTS, max_size=5), st.lists(st.floats(0, 1), max_size=2))
def test_a_trajectory_comes_back(moments: list[Moment], restarts: list[float]) -> None:
    whole = Trajectory(restarts=tuple(restarts), moments=tuple(moments))
    assert TrajectoryColumns.of(whole, 1000).trajectory(1000) == whole


def test_progress_is_kept_as_a_number_of_samples_if_that_is_exact() -> None:
    moments = tuple(Moment(progress=p, units={"a": 1}) for p in (0.0, 3 / 7, 0.123))
    assert TrajectoryColumns.of(Trajectory(moments=moments), 7).samples == [0, 3, 0.123]


def test_a_curve_comes_back_with_its_times() -> None:
    points = [
        EpochPoint(
            samples=n,
            train_loss=0.1 * n,
            validation_accuracy=0.5,
            validation_loss=1.5,
            density=1.0,
            firing_rate=0.2,
            learning_rate=0.01,
            seconds=float(n),
        )
        for n in range(3)
    ]
    columns = CurveColumns.of(points)
    assert columns.samples == [0, 1, 2]
    assert columns.points([0.0, 1.0, 2.0]) == points
    assert [point.seconds for point in columns.points()] == [None] * 3


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        CurveColumns(samples=[1], train_loss=[]).points()
    with pytest.raises(ValueError, match="zip"):
        TrajectoryColumns(samples=[1], units={"a": [1, 2]}).trajectory(7)
