"""Selection: by hand, and for any scores."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines.shared.allocation import erk_densities
from baselines.shared.selection import select
from tests.helpers.structures import chain, generator


def test_units_by_hand() -> None:
    # fc1 3x2 and fc2 2x3: 12 weights. Without fc1's unit 0 and fc2's unit 1: 2*2 + 1*2 = 6.
    structure = chain([2, 3, 2])
    scores = {"fc1": torch.tensor([0.1, 0.9, 0.8]), "fc2": torch.tensor([0.7, 0.2])}
    masks = select(structure, 0.5, generator(), units=scores)
    assert masks.units["fc1"].tolist() == [False, True, True]
    assert masks.units["fc2"].tolist() == [True, False]
    assert masks.parameters["fc1.weight"].tolist() == [[False] * 2, [True] * 2, [True] * 2]
    assert masks.parameters["fc2.weight"].tolist() == [[False, True, True], [False] * 3]
    assert structure.density(masks) == 0.5


def test_weights_by_hand() -> None:
    structure = chain([2, 2])
    scores = {"fc1": torch.tensor([[3.0, 1.0], [2.0, 4.0]])}
    masks = select(structure, 0.5, generator(), weights=scores)
    assert masks.parameters["fc1.weight"].tolist() == [[True, False], [False, True]]


def test_layer_wise_ranks_ignore_scale() -> None:
    structure = chain([4, 8, 8])
    rows = {"fc1": 1000 * torch.rand(8, 4), "fc2": torch.rand(8, 8)}
    masks = select(structure, 0.25, generator(), weights=rows, scope="layer-wise")
    for name in rows:
        share = masks.parameters[f"{name}.weight"].double().mean()
        assert abs(float(share) - 0.25) < 0.04


@pytest.mark.parametrize("density", [0.0, -1.0, 1.5, float("nan")])
def test_bad_density_is_refused(density: float) -> None:
    with pytest.raises(ValueError, match="density must be in"):
        select(chain([2, 2]), density, generator(), weights={"fc1": torch.ones(2, 2)})


def test_nan_scores_and_no_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="contain NaN"):
        select(chain([1, 1]), 0.5, generator(), weights={"fc1": torch.full((1, 1), torch.nan)})
    with pytest.raises(ValueError, match="nothing to select"):
        select(chain([1, 1]), 0.5, generator())


widths = st.lists(st.integers(2, 12), min_size=2, max_size=4)

densities = st.floats(0.02, 1.0)


@settings(max_examples=60, deadline=None)
@given(widths, densities, st.integers(0, 99))
def test_unit_selection_is_nearest_feasible(sizes: list[int], density: float, seed: int) -> None:
    structure = chain(sizes)
    draw = generator(seed)
    scores = {g.name: torch.rand(g.size, generator=draw) for g in structure.groups}
    masks = select(structure, density, generator(seed), units=scores)
    # Try every number of kept units: the best of each group first, then by score.
    best = {name: int(s.argmax()) for name, s in scores.items()}
    rest = sorted(
        ((float(s[u]), n, u) for n, s in scores.items() for u in range(len(s)) if u != best[n]),
        reverse=True,
    )
    kept = {n: torch.zeros(len(s), dtype=torch.bool) for n, s in scores.items()}
    for name, unit in best.items():
        kept[name][unit] = True
    counts = [sum(structure.count(kept).values())]
    for _, name, unit in rest:
        kept[name][unit] = True
        counts.append(sum(structure.count(kept).values()))
    target = round(density * structure.prunable)
    reached = round(structure.density(masks) * structure.prunable)
    assert abs(reached - target) == min(abs(c - target) for c in counts)


@settings(max_examples=30, deadline=None)
@given(widths, densities, st.integers(0, 99))
def test_ties_are_broken_by_the_seed_and_no_group_vanishes(
    sizes: list[int], density: float, seed: int
) -> None:
    structure = chain(sizes)
    scores = {g.name: torch.zeros(g.size) for g in structure.groups}
    masks = select(structure, density, generator(seed), units=scores)
    assert all(bool(kept.any()) for kept in masks.units.values())
    again = select(structure, density, generator(seed), units=scores)
    assert all(torch.equal(masks.units[n], again.units[n]) for n in masks.units)


@settings(max_examples=60, deadline=None)
@given(widths, densities, st.integers(0, 99), st.booleans(), st.booleans())
def test_weight_and_hybrid_selection_are_exact(
    sizes: list[int], density: float, seed: int, ties: bool, hybrid: bool
) -> None:
    structure = chain(sizes)
    draw = generator(seed)

    def rand(*shape: int) -> torch.Tensor:
        return torch.zeros(shape) if ties else torch.rand(shape, generator=draw)

    weights = {layer.name: rand(*layer.shape) for layer in structure.layers}
    units = {g.name: rand(g.size) for g in structure.groups} if hybrid else None
    masks = select(
        structure, density, generator(seed), units=units, weights=weights, scope="layer-wise"
    )
    kept = round(structure.density(masks) * structure.prunable)
    assert kept == round(density * structure.prunable)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 99), st.floats(0.05, 0.95))
def test_higher_density_keeps_more_units(seed: int, density: float) -> None:
    structure = chain([5, 9, 7])
    scores = {g.name: torch.rand(g.size, generator=generator(seed)) for g in structure.groups}
    few = select(structure, density, generator(), units=scores)
    many = select(structure, min(1.0, density + 0.05), generator(), units=scores)
    for name in scores:
        assert not bool((few.units[name] & ~many.units[name]).any())


@pytest.mark.parametrize("density", [0.05, 0.3, 0.9, 1.0])
def test_erk_selects_the_best_of_each_layer_at_its_density(density: float) -> None:
    structure = chain([10, 10, 30])
    scores = {n: 100**i * torch.rand(o, 10) for i, (n, o) in enumerate([("fc1", 10), ("fc2", 30)])}
    masks = select(structure, density, generator(), weights=scores, scope="erk")
    assert structure.density(masks) == pytest.approx(density, abs=1e-9)
    for layer, share in erk_densities(structure, density).items():
        kept = masks.parameters[f"{layer}.weight"]
        assert abs(int(kept.sum()) - share * kept.numel()) <= 1
        if not bool(kept.all()):
            assert scores[layer][kept].min() >= scores[layer][~kept].max()


def test_erk_is_for_weights() -> None:
    structure = chain([2, 2])
    with pytest.raises(ValueError, match="not units: use another scope"):
        select(structure, 0.5, generator(), units={"fc1": torch.ones(2)}, scope="erk")
