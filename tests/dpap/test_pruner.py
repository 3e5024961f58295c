"""DPAP over a whole run of random spikes: masks and densities."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch

from baselines.shared.activity import Activity
from baselines.shared.contract import PruneContext
from dpap import DPAP
from pipelines.settings.network import NetworkSpec
from pipelines.training.cell import build_network, build_structure
from tests.helpers.spikes import random_spikes


def run_dpap(
    granularity: str,
    density: float | None,
    activity_scale: float = 1.0,
    batch: int = 4,
    **options: Any,
) -> tuple[DPAP, list[Any]]:
    """Feed random activity to DPAP over a whole run and return all masks."""
    spec = NetworkSpec(kind="snn", layout="6C3-MP2-10FC-8FC", time_steps=2)
    network = build_network(spec, (1, 4, 4), 3, seed=0)
    structure = build_structure(network, granularity)
    pruner = DPAP(updates=60, **options)
    draw = torch.Generator().manual_seed(0)
    pruner.begin(network, PruneContext(structure, granularity, density, draw, 2))
    shapes = {"conv1": ((1, 4, 4), (6, 4, 4)), "fc1": ((24,), (10,)), "fc2": ((10,), (8,))}
    masks = []
    for step in range(1, 121):
        activity = {
            name: tuple(activity_scale * random_spikes(batch, shape, draw) for shape in pair)
            for name, pair in shapes.items()
        }
        pruner.observe(Activity(activity))
        found = pruner.masks(step / 120)
        if found is not None:
            masks.append(found)
    return pruner, masks


@pytest.mark.parametrize("granularity", ["structured", "hybrid"])
@pytest.mark.parametrize("density", [None, 0.3])
def test_pruned_entries_stay_pruned(granularity: str, density: float | None) -> None:
    pruner, masks = run_dpap(granularity, density)
    assert len(masks) > 10
    for earlier, later in pairwise(masks):
        for name, mask in earlier.parameters.items():
            assert not bool((later.parameters[name] & ~mask).any()), name
    last = pruner.context.structure.density(masks[-1])
    assert 0 < last < 1
    if density is not None:
        assert abs(last - density) < (0.06 if granularity == "structured" else 0.005)
    assert all(bool(kept.any()) for kept in masks[-1].units.values())


@pytest.mark.parametrize("granularity", ["structured", "hybrid"])
def test_silent_networks_are_pruned_without_nan(granularity: str) -> None:
    _, masks = run_dpap(granularity, None, activity_scale=0.0)
    assert all(bool(kept.any()) for kept in masks[-1].units.values())


@pytest.mark.parametrize("rule", ["hebb", "stdp"])
@pytest.mark.parametrize("evidence", ["trace", "plasticity"])
def test_ablations_reach_the_density(rule: str, evidence: str) -> None:
    pruner, masks = run_dpap("hybrid", 0.3, rule=rule, evidence=evidence)
    assert pruner.context.structure.density(masks[-1]) == pytest.approx(0.3, abs=0.005)


def test_only_units_or_only_synapses_are_pruned() -> None:
    _, masks = run_dpap("hybrid", 0.7, prune="synapses")
    assert all(bool(kept.all()) for kept in masks[-1].units.values())
    assert not bool(masks[-1].parameters["fc1.weight"].all())
    _, masks = run_dpap("hybrid", 0.5, prune="units")
    alone = masks[-1].parameters["fc2.weight"]
    units = masks[-1].units
    assert torch.equal(alone, units["fc2"][:, None] & units["fc1"][None, :])


def test_time_steps_are_pruned_for_good_and_need_two() -> None:
    _, masks = run_dpap("spatio-temporal", 0.3)
    silenced = [sum(int((~kept).sum()) for kept in m.steps.values()) for m in masks]
    assert silenced == sorted(silenced)
    assert 0 < silenced[-1] < 2 * (6 + 10 + 8)
    spec = NetworkSpec(kind="ann", layout="4FC")
    network = build_network(spec, (1, 2, 2), 3, seed=0)
    context = PruneContext(build_structure(network, "structured"), "structured", 0.5, None, 1)
    with pytest.raises(ValueError, match="needs at least 2 time steps"):
        DPAP(rule="stdp").begin(network, context)


def test_batch_of_one() -> None:
    _, masks = run_dpap("hybrid", 0.3, batch=1)
    assert masks


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="minimum_width"):
        DPAP(minimum_width=0)
    with pytest.raises(ValueError, match="stop"):
        DPAP(stop=1.5)


def test_a_global_threshold_lets_layers_differ() -> None:
    """Per layer all groups keep the same share; one threshold keeps the higher survivals."""
    pruner, masks = run_dpap("structured", 0.5, threshold="global")
    survivals = pruner.last_unit_scores()
    assert survivals is not None
    last = masks[-1].units
    kept = torch.cat([survivals[name][last[name]] for name in last])
    alive = {name: survivals[name] > -torch.inf for name in last}
    pruned = torch.cat([survivals[name][~last[name] & alive[name]] for name in last])
    assert pruned.numel() == 0 or float(pruned.max()) <= float(kept.max())
    shares = {round(float(units.double().mean()), 1) for units in last.values()}
    assert len(shares) > 1
