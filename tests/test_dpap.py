"""DPAP's rules: recorded figures, equations by hand, and what must hold for any spikes."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from baselines.api import PruneContext
from baselines.groups import PrunableLayer
from dpap.pruner import DPAP, LayerState
from dpap.survival import SurvivalConstants, normalized, survival
from dpap.traces import trace
from pipelines.core.cell import build_network, build_structure
from pipelines.core.networks import NetworkSpec

GOLDEN = Path(__file__).parent / "golden" / "paper.npz"


def recorded() -> tuple[dict[str, Any], Any, list[Tensor]]:
    file = np.load(GOLDEN, allow_pickle=False)
    meta = json.loads(str(file["meta"]))
    spikes = []
    for i in range(len(meta["activity_shapes"])):
        shape = tuple(file[f"spikes_shape/{i}"])
        bits = np.unpackbits(file[f"spikes/{i}"], count=math.prod(shape))
        spikes.append(torch.from_numpy(bits.reshape(shape).astype(np.float64)))
    return meta, file, spikes


def test_recorded_figures_of_the_paper() -> None:
    meta, file, spikes = recorded()
    constants = meta["constants"]
    states = []
    for layer in meta["layers"]:
        own = constants[layer["kind"]]
        inputs, outputs = (meta["activity_shapes"][layer[k]][0] for k in ("pre", "post"))
        states.append(
            LayerState(
                PrunableLayer(layer["name"], layer["kind"], (outputs, inputs)),
                SurvivalConstants(own["eps"], own["eta"], own["C"]),
                constants["beta"],
                synapses=layer["kind"] == "linear",
            )
        )
    compared = 0
    for epoch in range(meta["epochs"]):
        first = epoch * meta["batches_per_epoch"]
        for batch in range(first, first + meta["batches_per_epoch"]):
            for layer, state in zip(meta["layers"], states, strict=True):
                pre, post = spikes[layer["pre"]][batch], spikes[layer["post"]][batch]
                state.observe(trace(pre, constants["tau"]), trace(post, constants["tau"]))
        for layer, state in zip(meta["layers"], states, strict=True):
            found = {
                "theta": state.threshold.value,
                "bcm": state.plasticity,
                "importance": state.importance,
            }
            if epoch >= meta["start_epoch"]:
                state.update(constants["gamma"], epoch - meta["start_epoch"])
            state.reset()
            found |= {
                "survival_unit": state.unit_survival,
                "survival_synapse": state.synapse_survival,
            }
            if epoch not in meta["snapshots"]:
                continue
            for name, value in found.items():
                if value is None:
                    continue
                wanted = torch.from_numpy(file[f"e{epoch}/{layer['name']}/{name}"])
                scale = float(wanted.abs().max())
                torch.testing.assert_close(value.double(), wanted, rtol=1e-5, atol=1e-9 * scale)
                compared += 1
    assert compared >= 100


def test_trace_by_hand() -> None:
    spikes = torch.tensor([1.0, 0.0, 1.0]).view(3, 1, 1)
    assert trace(spikes, 0.5).item() == 0.25 * 1 + 0.5 * 0 + 1
    maps = torch.zeros(2, 1, 1, 2, 2)
    maps[0, 0, 0, 0] = 1  # two spikes at the first step
    maps[1, 0, 0, 1, 1] = 1  # one at the second
    assert trace(maps, 0.5).item() == 0.5 * 2 + 1
    assert trace(spikes[:1], 0.5).item() == 1, "T = 1"


def test_survival_by_hand() -> None:
    constants = SurvivalConstants(epsilon=1.5, eta=10.0, bonus=2.0)
    before, importance = torch.tensor([1.0, 1.0, 1.0]), torch.tensor([0.0, 5.0, 10.0])
    after = survival(before, importance, constants, gamma=0.9, age=10)
    # delta = 2 * [0, 0.5, 1] - 1.5 = [-1.5, -0.5, 0.5]; the last gets the bonus; exp(-1).
    factor = math.exp(-1)
    wanted = [0.9 - 1.5 * factor, 0.9 - 0.5 * factor, 0.9 + 2.5 * factor]
    torch.testing.assert_close(after, torch.tensor(wanted))


def test_equal_importance_is_one_half() -> None:
    assert normalized(torch.zeros(4)).tolist() == [0.5] * 4


def spikes(batch: int, shape: tuple[int, ...], draw: torch.Generator) -> Tensor:
    """Random spikes, [2, B, *shape]; the first units are quiet, the last ones busy."""
    rates = torch.linspace(0.02, 0.9, shape[0]).view(-1, *[1] * (len(shape) - 1))
    return (torch.rand(2, batch, *shape, generator=draw) < rates).float()


def run_dpap(
    granularity: str, density: float | None, activity_scale: float = 1.0, batch: int = 4
) -> tuple[DPAP, list[Any]]:
    """Feed random activity to DPAP over a whole run and return all masks."""
    spec = NetworkSpec(kind="snn", layout="6C3-MP2-10FC-8FC", time_steps=2)
    network = build_network(spec, (1, 4, 4), 3, seed=0)
    structure = build_structure(network, granularity)
    pruner = DPAP(updates=60)
    draw = torch.Generator().manual_seed(0)
    pruner.begin(network, PruneContext(structure, granularity, density, draw))
    shapes = {"conv1": ((1, 4, 4), (6, 4, 4)), "fc1": ((24,), (10,)), "fc2": ((10,), (8,))}
    masks = []
    for step in range(1, 121):
        activity = {
            name: tuple(activity_scale * spikes(batch, shape, draw) for shape in pair)
            for name, pair in shapes.items()
        }
        pruner.observe(activity)
        found = pruner.masks(step / 120)
        if found is not None:
            masks.append(found)
    return pruner, masks


@pytest.mark.parametrize("granularity", ["structured", "hybrid"])
@pytest.mark.parametrize("density", [None, 0.3])
def test_the_dead_stay_dead(granularity: str, density: float | None) -> None:
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
def test_silence_prunes_without_nan(granularity: str) -> None:
    _, masks = run_dpap(granularity, None, activity_scale=0.0)
    assert all(bool(kept.any()) for kept in masks[-1].units.values())


def test_batch_of_one() -> None:
    _, masks = run_dpap("hybrid", 0.3, batch=1)
    assert masks


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 999))
def test_permuting_units_permutes_everything(seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    order = torch.randperm(7, generator=draw)
    constants = SurvivalConstants(1.5, 12.0, 2.0)
    layer = PrunableLayer("fc1", "linear", (7, 5))
    one, other = (LayerState(layer, constants, 10.0, synapses=True) for _ in range(2))
    for age in range(4):
        for size in (3, 1):  # a last, smaller batch
            pre = torch.rand(size, 5, generator=draw, dtype=torch.double)
            post = torch.rand(size, 7, generator=draw, dtype=torch.double)
            one.observe(pre, post)
            other.observe(pre, post[:, order])
        for state in (one, other):
            state.update(0.999, age)
            state.reset()
    torch.testing.assert_close(one.unit_survival[order], other.unit_survival)
    assert one.synapse_survival is not None
    assert other.synapse_survival is not None
    torch.testing.assert_close(one.synapse_survival[order], other.synapse_survival)


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="minimum_width"):
        DPAP(minimum_width=0)
    with pytest.raises(ValueError, match="stop"):
        DPAP(stop=1.5)
