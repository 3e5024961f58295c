"""Selection: by hand, and for any scores."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines.shared.allocation import erk_densities
from baselines.shared.groups import PrunableLayer, Slice, Structure, UnitGroup
from baselines.shared.selection import Scope, Selected, random_ranks, select, watch_selections
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


@pytest.mark.parametrize("scope", get_args(Scope))
@pytest.mark.parametrize("what", ["units", "weights", "both"])
def test_three_seeds_keep_different_units_and_weights_of_equal_score(
    scope: Scope, what: str
) -> None:
    structure = chain([20, 30, 30])
    units = {g.name: torch.ones(g.size) for g in structure.groups} if what != "weights" else None
    weights = {x.name: torch.ones(x.shape) for x in structure.layers} if what != "units" else None
    found = [
        select(structure, 0.3, generator(seed), units=units, weights=weights, scope=scope)
        for seed in range(3)
    ]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        masks, others = found[one].parameters, found[other].parameters
        differ = [name for name, kept in masks.items() if not kept.equal(others[name])]
        # Of equal scores, LAMP's normalisation prefers those of the smaller layer.
        assert differ if scope == "lamp" else len(differ) == len(masks)


def test_random_ranks_by_hand() -> None:
    draw = generator()
    state = draw.get_state()
    distinct = random_ranks(torch.tensor([0.3, -torch.inf, 0.1, -torch.inf, torch.inf]), draw)
    assert distinct[[0, 2, 4]].tolist() == [3, 2, 4]
    assert draw.get_state().equal(state), "nothing is drawn for pruned entries"
    ties = torch.tensor([1.0, 0.0, 1.0, 0.0])
    found = {tuple(random_ranks(ties, draw).tolist()) for _ in range(40)}
    assert found == {(2, 0, 3, 1), (3, 0, 2, 1), (2, 1, 3, 0), (3, 1, 2, 0)}


def test_lamp_compares_relative_to_the_larger_scores_of_the_layer() -> None:
    structure = chain([2, 2, 2])
    scores = {
        "fc1": torch.tensor([[3.0, 2.0], [1.0, 0.5]]),  # 1, 2/5, 1/6, 0.5/6.5
        "fc2": torch.tensor([[30.0, 1.5], [0.2, 0.1]]),  # 1, 1.5/31.5, ...
    }
    kept = select(structure, 0.5, generator(), weights=scores, scope="lamp").parameters
    assert kept["fc1.weight"].tolist() == [[True, True], [True, False]]
    assert kept["fc2.weight"].tolist() == [[True, False], [False, False]]
    kept = select(structure, 0.5, generator(), weights=scores, scope="global").parameters
    assert int(kept["fc2.weight"].sum()) == 2, "the scores as they are"


@pytest.mark.parametrize("scope", ["erk", "protect-small"])
def test_small_layers_keep_more_units(scope: Scope) -> None:
    structure = chain([4, 16, 64, 64])
    scores = {g.name: torch.rand(g.size, generator=generator()) for g in structure.groups}
    masks = select(structure, 0.2, generator(), units=scores, scope=scope)
    shares = [float(masks.units[g.name].double().mean()) for g in structure.groups]
    assert shares[0] > shares[1] > shares[2]
    assert structure.density(masks) == pytest.approx(0.2, abs=0.03)


def test_protect_small_leaves_neurons_to_their_synapses() -> None:
    # 16 channels of 3 x 3 kernels (144 weights), then fc1 16 x 32 (512). Target 0.25: 164 weights;
    # units alone: 0.25 * 1.75 * 144 = 63 weights, so 7 of 16 channels; 164 - 63 = 101 for fc1.
    conv = PrunableLayer("conv1", "conv", (16, 1, 3, 3))
    fc = PrunableLayer("fc1", "linear", (32, 16))
    index = torch.arange(16).view(-1, 1)
    channels = UnitGroup(
        "conv1", 16, ("conv1",), (Slice("conv1.weight", 0, index), Slice("fc1.weight", 1, index))
    )
    rows = torch.arange(32).view(-1, 1)
    neurons = UnitGroup("fc1", 32, ("fc1",), (Slice("fc1.weight", 0, rows),))
    shapes = {"conv1.weight": conv.shape, "fc1.weight": fc.shape}
    structure = Structure((conv, fc), shapes, (channels, neurons))
    masks = select(
        structure,
        0.25,
        generator(),
        units={"conv1": torch.rand(16), "fc1": torch.rand(32)},
        weights={"fc1": torch.rand(32, 16)},
        scope="protect-small",
    )
    assert int(masks.units["conv1"].sum()) == 7
    assert bool(masks.units["fc1"].all())
    assert int(masks.parameters["fc1.weight"].sum()) == 101


@settings(max_examples=40, deadline=None)
@given(widths, densities, st.integers(0, 99), st.sampled_from(get_args(Scope)))
def test_hybrid_selection_is_exact_in_every_scope(
    sizes: list[int], density: float, seed: int, scope: Scope
) -> None:
    structure = chain(sizes)
    draw = generator(seed)
    weights = {x.name: torch.rand(x.shape, generator=draw) for x in structure.layers}
    units = {g.name: torch.rand(g.size, generator=draw) for g in structure.groups}
    masks = select(structure, density, draw, units=units, weights=weights, scope=scope)
    kept = round(structure.density(masks) * structure.prunable)
    assert kept == round(density * structure.prunable)


def test_selections_can_be_watched() -> None:
    structure, seen = chain([2, 2]), list[Selected]()
    scores = {"fc1": torch.rand(2, 2)}
    with watch_selections(seen.append):
        masks = select(structure, 0.5, generator(), weights=scores)
    select(structure, 0.5, generator(), weights=scores)
    assert [one.masks for one in seen] == [masks]
    assert seen[0].weights == scores
    assert seen[0].units == {}
