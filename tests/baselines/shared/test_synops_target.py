"""Target SynOps: the density that a selection needs is searched, and the last update meets it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from baselines.shared.contract import PruneContext
from baselines.shared.masks import Masks
from baselines.shared.synops_target import INTERVAL, MARGIN, TRIALS, SynopsTarget
from tests.helpers.structures import chain, generator

STRUCTURE = chain([10, 10])  # one layer of 100 weights


def first(density: float) -> Masks:
    """Keep the first weights of the layer."""
    kept = torch.arange(100) < round(100 * density)
    return Masks({"fc1.weight": kept.view(10, 10)})


def proportional(masks: Masks) -> float:
    """One weight has ten SynOps."""
    return 10.0 * masks.kept("fc1.weight", 100)


def target(synops: float, measure: Callable[[Masks], float] = proportional) -> SynopsTarget:
    return SynopsTarget(synops, measure)


@pytest.mark.parametrize("power", [0.6, 1.0, 1.7])
def test_the_last_search_meets_the_target(power: float) -> None:
    def measure(masks: Masks) -> float:
        return 1000 * (masks.kept("fc1.weight", 100) / 100) ** power

    one = target(1000 * 0.3**power, measure)
    one.at(0.5, first, generator(), last=False)  # the last search begins where this one ended
    assert one.at(0.6, first, generator(), last=True) == pytest.approx(0.3, abs=0.012)


def test_before_the_last_update_the_search_aims_above_the_target() -> None:
    one = target(300.0)
    assert one.at(0.2, first, generator(), last=False) == pytest.approx(
        0.3 * (1 + MARGIN), abs=0.01
    )
    assert one.at(0.3, first, generator(), last=True) == pytest.approx(0.3, abs=0.005)


def test_where_units_are_coarse_the_nearest_trial_counts() -> None:
    def units(masks: Masks) -> float:
        """Ten units of 100 SynOps; a unit is there if it has a weight."""
        return 100.0 * float(masks.parameters["fc1.weight"].any(1).sum())

    assert units(first(target(330.0, units).at(0.6, first, generator(), last=True))) == 300
    above = first(target(310.0, units).at(0.2, first, generator(), last=False))
    assert units(above) == 400, "300 SynOps are nearer, but units that are pruned stay pruned"


def test_a_target_above_the_dense_network_prunes_nothing() -> None:
    assert target(2000.0).at(0.6, first, generator(), last=True) == 1.0


def test_too_few_synops_leave_the_density_where_it_is() -> None:
    one = target(300.0)
    found = one.at(0.2, first, generator(), last=False)
    one.measure = lambda _: 200.0  # dead units hold, whatever the density is
    assert one.at(0.4, first, generator(), last=False) == found


def test_a_search_holds_for_an_interval_and_has_few_trials() -> None:
    seen: list[float] = []

    def measure(masks: Masks) -> float:
        seen.append(proportional(masks))
        return seen[-1]

    one = target(137.0, measure)
    one.at(0.2, first, generator(), last=False)
    assert 1 < len(seen) <= TRIALS
    before = len(seen)
    one.at(0.2 + INTERVAL / 2, first, generator(), last=False)
    assert len(seen) == before
    one.at(0.2 + INTERVAL / 2, first, generator(), last=True)
    assert len(seen) > before


def test_trials_see_the_same_random_numbers_and_leave_no_trace() -> None:
    draw, drawn = generator(), list[float]()

    def select(density: float) -> Masks:
        drawn.append(float(torch.rand(1, generator=draw)))
        return first(density)

    target(300.0).at(0.6, select, draw, last=True)
    assert len(set(drawn)) == 1
    assert float(torch.rand(1, generator=draw)) == drawn[0]


def context(density: float | None, synops: SynopsTarget | None) -> PruneContext:
    return PruneContext(STRUCTURE, "unstructured", density, generator(), synops=synops)


def test_a_context_selects_along_the_schedule() -> None:
    """Half of the way of the cubic schedule: d + (1 - d) / 8."""
    for one in (context(0.2, None), context(None, target(200.0))):
        assert not one.emergent
        half = one.select(first, 0.4, 0.2, 0.6).kept("fc1.weight", 100)
        assert half == pytest.approx(30, abs=1)
        assert one.select(first, 0.6, 0.2, 0.6).kept("fc1.weight", 100) == pytest.approx(20, abs=1)
    assert context(None, None).emergent
