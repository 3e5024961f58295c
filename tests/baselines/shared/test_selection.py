"""Selection, schedules and masks: by hand, and for any scores."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines.shared.allocation import erk_densities
from baselines.shared.groups import PrunableLayer, Slice, Structure, UnitGroup, weight_structure
from baselines.shared.masks import Masks
from baselines.shared.schedules import UpdateClock, cosine, cubic_density
from baselines.shared.selection import select
from baselines.shared.sparse_training import drop_and_grow


def chain(widths: list[int]) -> Structure:
    """Linear layers one after another; units of each layer own a row and the next's column."""
    names = [f"fc{i}" for i in range(1, len(widths))]
    shapes = {f"{n}.weight": (o, i) for n, i, o in zip(names, widths, widths[1:], strict=False)}
    layers = tuple(PrunableLayer(n, "linear", shapes[f"{n}.weight"]) for n in names)
    groups = []
    for n, following in zip(names, [*names[1:], None], strict=True):
        size = shapes[f"{n}.weight"][0]
        index = torch.arange(size).view(-1, 1)
        slices = [Slice(f"{n}.weight", 0, index)]
        if following:
            slices.append(Slice(f"{following}.weight", 1, index))
        groups.append(UnitGroup(n, size, (n,), tuple(slices)))
    return Structure(layers, shapes, tuple(groups))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


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


def test_mask_round_trip_and_shuffle(tmp_path: Path) -> None:
    structure = chain([6, 8, 5])
    scores = {layer.name: torch.rand(layer.shape) for layer in structure.layers}
    masks = select(structure, 0.3, generator(), weights=scores)
    masks.save(tmp_path / "masks.safetensors")
    loaded = Masks.load(tmp_path / "masks.safetensors")
    assert {k: v.tolist() for k, v in loaded.parameters.items()} == {
        k: v.tolist() for k, v in masks.parameters.items()
    }
    shuffled = masks.shuffled([f"{n}.weight" for n in scores], generator(1))
    for name, mask in masks.parameters.items():
        assert shuffled.parameters[name].sum() == mask.sum()
    assert any(not torch.equal(shuffled.parameters[n], m) for n, m in masks.parameters.items())


def momentum_optimizers() -> list[tuple[str, type[torch.optim.Optimizer], dict[str, object]]]:
    return [
        ("sgd", torch.optim.SGD, {"momentum": 0.9}),
        ("adam", torch.optim.Adam, {"amsgrad": True}),
        ("adamw", torch.optim.AdamW, {"weight_decay": 0.1}),
    ]


@pytest.mark.parametrize(("name", "kind", "options"), momentum_optimizers())
def test_projection_holds_against_momentum(
    name: str, kind: type[torch.optim.Optimizer], options: dict[str, object]
) -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Linear(5, 3))
    optimizer = kind(network.parameters(), lr=0.1, **options)

    def step() -> None:
        optimizer.zero_grad()
        network(torch.randn(8, 6)).square().sum().backward()
        optimizer.step()

    for _ in range(3):
        step()
    structure = weight_structure(network, readout="")
    scores = {x.name: torch.rand(x.shape) for x in structure.layers}
    masks = select(structure, 0.4, generator(), weights=scores)
    for _ in range(3):
        step()
        masks.project(network, optimizer)
        for parameter_name, mask in masks.parameters.items():
            parameter = network.get_parameter(parameter_name)
            assert not bool(parameter[~mask].any())
            for value in optimizer.state[parameter].values():
                if torch.is_tensor(value) and value.shape == mask.shape:
                    assert not bool(value[~mask].any()), name
    # Without the projection, momentum alone brings masked weights back.
    step()
    weight = network.get_parameter("0.weight")
    assert bool(weight[~masks.parameters["0.weight"]].any())


def test_projection_refuses_a_foreign_mask() -> None:
    with pytest.raises(ValueError, match="fits no parameter"):
        Masks({"nope": torch.ones(2, dtype=torch.bool)}).project(torch.nn.Linear(2, 2))


def test_cubic_schedule_by_hand() -> None:
    assert cubic_density(0.0, 0.2, 0.6, 0.1) == 1.0
    assert cubic_density(0.4, 0.2, 0.6, 0.1) == pytest.approx(0.1 + 0.9 * 0.125)
    assert cubic_density(0.6, 0.2, 0.6, 0.1) == 0.1
    assert cubic_density(0.2, 0.2, 0.2, 0.1) == 0.1, "start == stop is one-shot"


@given(st.integers(1, 50), st.integers(1, 400))
def test_clock_is_due_often_enough_and_never_twice(updates: int, steps: int) -> None:
    clock = UpdateClock(updates)
    times = sum(clock.due(step / steps) for step in range(1, steps + 1))
    assert times == min(updates, steps)
    assert clock.done == updates


def test_erk_densities_by_hand() -> None:
    # fc1 10x10, fc2 30x10: sums of dimensions 20 and 40; 0.3 * 400 = 120 weights, scale 2.
    structure = chain([10, 10, 30])
    assert erk_densities(structure, 0.3) == {
        "fc1": pytest.approx(0.4),
        "fc2": pytest.approx(80 / 300),
    }
    # At 0.9 the scale, 6, would ask for 120 of fc1's 100: it stays whole, 260 are left to fc2.
    assert erk_densities(structure, 0.9) == {"fc1": 1.0, "fc2": pytest.approx(260 / 300)}
    assert set(erk_densities(structure, 1.0).values()) == {1.0}
    conv = PrunableLayer("conv", "conv", (4, 2, 3, 3))
    alone = Structure((conv,), {"conv.weight": conv.shape})
    assert erk_densities(alone, 0.25)["conv"] == pytest.approx(0.25)
    with pytest.raises(ValueError, match="density must be in"):
        erk_densities(structure, 0.0)


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


def test_sums_over_units_by_hand() -> None:
    structure = chain([2, 2, 2])
    values = {"fc1.weight": torch.tensor([[1.0, 2.0], [3.0, 4.0]])}
    assert structure.unit_sums(values)["fc1"].tolist() == [3.0, 7.0]
    assert structure.unit_sums(values)["fc2"].tolist() == [0.0, 0.0]
    values["fc2.weight"] = torch.tensor([[10.0, 20.0], [30.0, 40.0]])
    assert structure.unit_sums(values)["fc1"].tolist() == [3.0 + 40, 7.0 + 60]  # a row, a column
    assert structure.unit_sums(values)["fc2"].tolist() == [30.0, 70.0]
    batch = {name: torch.stack([v, 2 * v]) for name, v in values.items()}
    assert structure.unit_sums(batch)["fc1"].tolist() == [[43.0, 67.0], [86.0, 134.0]]


def test_sums_over_units_count_maps_and_vectors() -> None:
    index = torch.arange(2).view(-1, 1)
    slices = (
        Slice("conv.weight", 0, index),
        Slice("norm.weight", 0, index),
        Slice("fc.weight", 1, torch.tensor([[0, 1], [2, 3]])),
    )
    shapes = {"conv.weight": (2, 1, 3, 3), "norm.weight": (2,), "fc.weight": (3, 4)}
    layer = PrunableLayer("conv", "conv", shapes["conv.weight"])
    structure = Structure((layer,), shapes, (UnitGroup("conv", 2, ("conv",), slices),))
    values = {name: torch.ones(shape) for name, shape in shapes.items()}
    assert structure.unit_sums(values)["conv"].tolist() == [9 + 1 + 6] * 2
    values = {name: torch.ones(5, *shape) for name, shape in shapes.items()}
    assert structure.unit_sums(values)["conv"].tolist() == [[16.0] * 2] * 5


def test_drop_and_grow_by_hand() -> None:
    kept = torch.tensor([[True, True, False], [True, False, False]])
    drop = torch.tensor([[0.5, 0.1, 0.0], [0.9, 0.0, 0.0]])
    grow = torch.tensor([[9.0, 9.0, 1.0], [9.0, 2.0, 3.0]])
    after = drop_and_grow(kept, 1, drop, grow)
    assert after.tolist() == [[True, False, False], [True, False, True]]
    assert drop_and_grow(kept, 0, drop, grow).equal(kept)
    assert drop_and_grow(kept, 99, drop, grow).equal(~kept)
    whole = torch.ones(2, 2, dtype=torch.bool)
    assert drop_and_grow(whole, 1, torch.rand(2, 2), torch.rand(2, 2)).equal(whole)


def test_cosine_by_hand() -> None:
    assert cosine(0.0, 0.8) == 1.0
    assert cosine(0.4, 0.8) == pytest.approx(0.5)
    assert cosine(0.8, 0.8) == cosine(1.0, 0.8) == 0.0
