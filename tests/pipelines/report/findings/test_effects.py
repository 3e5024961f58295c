"""Effects: how they are printed, and their tests against a bound."""

from __future__ import annotations

import math

import pytest

from pipelines.metrics.table import METRICS
from pipelines.report.findings.effects import Effect
from pipelines.report.statistics.stats import Estimate, estimate


def test_an_effect_is_printed_with_its_interval() -> None:
    found = Estimate(0.0123, 0.004, 5, 0.001)
    assert Effect(found, "points").text == "+1.23 ± 0.40"
    ratio = Estimate(math.log(0.5), math.log(1.25), 5, 0.1)
    assert Effect(ratio, "ratio").text == "50.0 % (40.0 to 62.5 %)"
    value = Effect(Estimate(0.25, 0.05, 5, 0.01), "value", METRICS["density"])
    assert value.text == "0.250 (0.200 to 0.300)"


def test_with_fewer_than_five_seeds_the_interval_is_printed_alone() -> None:
    assert Effect(Estimate(0.0123, 0.004, 4, 0.001), "points").text == "+0.83 to +1.63"
    assert Effect(Estimate(0.0123, None, 1), "points").text == "one seed"


def test_p_is_that_of_the_distance_to_the_bound() -> None:
    """Mean 2, standard error 0.5 over five seeds: t = 4 to the bound 0, and 2 to the bound 1."""
    found = Effect(Estimate(2.0, None, 5, 0.5), "value", METRICS["density"])
    assert found.p() == pytest.approx(0.016130, rel=1e-3)
    assert found.p(1.0) == pytest.approx(0.116117, rel=1e-3)
    assert found.p(3.0) == pytest.approx(found.p(1.0))


def test_equal_accuracies_are_no_evidence_and_equal_costs_are_exact() -> None:
    equal = estimate([0.25] * 5)
    assert equal is not None
    assert Effect(equal, "points").p() == 1
    cost = Effect(equal, "value", METRICS["density"])
    assert (cost.p(0.3), cost.p(0.25)) == (0, 1)
