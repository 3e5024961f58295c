"""Schedules and the update clock, by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baselines.shared.schedules import UpdateClock, cosine, cubic_density


def test_cubic_schedule_by_hand() -> None:
    assert cubic_density(0.0, 0.2, 0.6, 0.1) == 1.0
    assert cubic_density(0.4, 0.2, 0.6, 0.1) == pytest.approx(0.1 + 0.9 * 0.125)
    assert cubic_density(0.6, 0.2, 0.6, 0.1) == 0.1
    assert cubic_density(0.2, 0.2, 0.2, 0.1) == 0.1, "start == stop is one-shot"


def test_cosine_by_hand() -> None:
    assert cosine(0.0, 0.8) == 1.0
    assert cosine(0.4, 0.8) == pytest.approx(0.5)
    assert cosine(0.8, 0.8) == cosine(1.0, 0.8) == 0.0


@given(st.integers(1, 50), st.integers(1, 400))
def test_clock_is_due_often_enough_and_never_twice(updates: int, steps: int) -> None:
    clock = UpdateClock(updates)
    times = sum(clock.due(step / steps) for step in range(1, steps + 1))
    assert times == min(updates, steps)
    assert clock.done == updates
