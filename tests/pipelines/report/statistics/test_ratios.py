"""Ratios of costs, by hand."""

from __future__ import annotations

import math

import pytest

from pipelines.report.statistics.ratios import log_ratio


def test_the_ratio_is_a_geometric_mean_over_the_common_seeds() -> None:
    """Ratios 2 and 4: sqrt(8) times; the deviation of ln 2 and ln 4 is ln 2 / sqrt(2)."""
    found = log_ratio({0: 2.0, 1: 8.0, 2: 7.0}, {1: 2.0, 0: 1.0})
    assert found is not None
    assert found.seeds == 2
    assert math.exp(found.mean) == pytest.approx(math.sqrt(8))
    assert found.seed_error == pytest.approx(math.log(2) / 2)
    assert found.half_width == pytest.approx(12.706 * math.log(2) / 2, rel=1e-4)


def test_there_is_no_ratio_without_common_seeds_or_of_zero() -> None:
    assert log_ratio({0: 1.0}, {1: 1.0}) is None
    assert log_ratio({0: 0.0, 1: 1.0}, {0: 1.0, 1: 1.0}) is None
