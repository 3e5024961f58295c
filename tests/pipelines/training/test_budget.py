"""The budget meter charges samples, and refuses those beyond the budget."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.training.budget import BudgetExceededError, BudgetMeter


@given(st.integers(1, 1000), st.lists(st.integers(0, 200), max_size=30))
def test_the_meter_never_exceeds_its_budget(samples: int, charges: list[int]) -> None:
    meter = BudgetMeter(samples)
    accepted = 0
    for charge in charges:
        before = meter.spent
        try:
            meter.charge(charge, "training")
            accepted += charge
        except BudgetExceededError:
            assert charge > samples - before
        assert meter.spent == accepted <= samples
        assert meter.remaining == samples - accepted
        assert 0 <= meter.progress <= 1


def test_a_refused_charge_costs_nothing() -> None:
    meter = BudgetMeter(100)
    meter.charge(60, "training")
    with pytest.raises(
        BudgetExceededError, match="phase 'saliency' asks for 50 samples, 40 of 100"
    ):
        meter.charge(50, "saliency")
    assert dict(meter.phases) == {"training": 60}


def test_numbers_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot charge"):
        BudgetMeter(100).charge(-1, "training")
    with pytest.raises(ValueError, match="at least one sample"):
        BudgetMeter(0)
