"""DPAP's rules: recorded figures, equations by hand, and what must hold for any spikes."""

from __future__ import annotations

import inspect
import json
import math
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from baselines.shared.activity import Activity, unit_activity
from baselines.shared.contract import PruneContext
from dpap import DPAP, PAPER, RELEASED, layer, presets
from dpap.conformance import TOLERANCE, compare
from dpap.conformance import main as conformance
from dpap.importance import time_importance
from dpap.layer import LayerState
from dpap.plasticity import SlidingThreshold, bcm, hebb, stdp
from dpap.presets import Preset
from dpap.survival import SurvivalRule, normalized
from dpap.traces import running_traces, trace
from pipelines.settings.network import NetworkSpec
from pipelines.training.cell import build_network, build_structure
from tests.helpers.paths import ROOT

GOLDEN = sorted((ROOT / "tests" / "golden").glob("*.npz"))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_recorded_figures(path: Path) -> None:
    worst: dict[str, float] = {}
    for quantity, error in compare(path):
        worst[quantity] = max(worst.get(quantity, 0.0), error)
    assert worst.keys() >= {"theta", "bcm", "importance", "survival_unit", "survival_synapse"}
    assert all(error <= TOLERANCE for error in worst.values()), worst


def test_both_recordings_are_there() -> None:
    assert [path.stem for path in GOLDEN] == ["paper", "released"]


def altered(path: Path, to: Path, key: str, change: float) -> Path:
    file = dict(np.load(path, allow_pickle=False))
    file[key] = ~file[key] if file[key].dtype == bool else file[key] * (1 + change)
    np.savez(to, **file)
    return to


def test_conformance_is_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert conformance([str(GOLDEN[0])]) == 0
    assert capsys.readouterr().out.count("ok") >= 8
    for key, change in (("e5/conv2/bcm", 1e-3), ("e69/fc1/keep_synapse", 0)):
        assert conformance([str(altered(GOLDEN[0], tmp_path / "a.npz", key, change))]) == 1
        assert "FAILED" in capsys.readouterr().out
    assert conformance(["nowhere.npz"]) == 2
    assert "usage" in capsys.readouterr().err


def test_a_recording_of_other_shapes(tmp_path: Path) -> None:
    """One conv, no pool, T = 1, one batch of 3: figures of equation (3) worked out with loops."""
    draw = np.random.default_rng(0)
    shapes = [[2, 3, 3], [4, 3, 3], [36], [5]]
    spikes = [(draw.random((2, 1, 3, *shape)) < 0.5).astype(np.uint8) for shape in shapes]
    meta = {
        "B": 3,
        "T": 1,
        "epochs": 2,
        "batches_per_epoch": 1,
        "snapshots": [0, 1],
        "start_epoch": 0,
        "activity_shapes": shapes,
        "layers": [
            {"name": "a", "kind": "conv", "pre": 0, "post": 1},
            {"name": "b", "kind": "linear", "pre": 2, "post": 3},
        ],
        "constants": {
            "tau": 0.5,
            "gamma": 0.9,
            "beta": 1.0,
            "conv": {"eps": 1.0, "C": 1.0, "eta": 2.0},
            "linear": {"eps": 1.0, "C": 1.0, "eta": 2.0},
        },
    }
    file = {"meta": np.array(json.dumps(meta))}
    for i, array in enumerate(spikes):
        file[f"spikes/{i}"] = np.packbits(array)
        file[f"spikes_shape/{i}"] = np.array(array.shape)
    theta = np.zeros(4)
    for epoch in range(2):
        pre, post = (spikes[i][epoch, 0].reshape(3, -1, 9).sum(2, dtype=float) for i in (0, 1))
        bcm = np.zeros((4, 2))
        for b in range(3):
            for n in range(4):
                for p in range(2):
                    bcm[n, p] += pre[b, p] * post[b, n] * (post[b, n] - theta[n])
        theta = theta + (post.mean(0) - theta) / (epoch + 1)
        file |= {f"e{epoch}/a/bcm": bcm, f"e{epoch}/a/theta": theta}
        file[f"e{epoch}/a/importance"] = post.sum(0) * bcm.sum(1)
    np.savez(tmp_path / "third.npz", **file)
    assert dict(compare(tmp_path / "third.npz")).keys() == {"bcm", "theta", "importance"}
    assert conformance([str(tmp_path / "third.npz")]) == 0


def test_presets_differ_where_the_table_says() -> None:
    differences = {k for k, v in asdict(PAPER).items() if asdict(RELEASED)[k] != v}
    assert differences == {
        "trace_mean",
        "theta",
        "accumulate",
        "unit_importance",
        "normalization",
        "conv_epsilon",
        "bonus_at_zero",
        "decay",
    }
    table = inspect.getdoc(presets) or ""
    for field in asdict(PAPER):
        assert field.removeprefix("conv_").removeprefix("linear_") in table
    assert DPAP.from_preset(RELEASED, updates=50) == DPAP(**(asdict(RELEASED) | {"updates": 50}))


def test_slots_keep_thresholds_of_their_own() -> None:
    threshold = SlidingThreshold("slot")
    assert threshold.slide(torch.tensor([[[2.0], [4.0]]])).tolist() == [[[0.0], [0.0]]]
    threshold.slide(torch.tensor([[[4.0]]]))  # a last, smaller batch
    assert threshold.slide(torch.zeros(1, 3, 1)).tolist() == [[[3.0], [4.0], [0.0]]]


@pytest.mark.parametrize("per", ["unit", "slot"])
def test_threshold_slides_over_many_batches_as_over_one_by_one(per: Any) -> None:
    posts = torch.rand(5, 3, 2, generator=torch.Generator().manual_seed(0)).double()
    one, many = SlidingThreshold(per), SlidingThreshold(per)
    singly = torch.cat([one.slide(post[None]) for post in posts])
    torch.testing.assert_close(many.slide(posts), singly)
    means = posts.mean(1, keepdim=True) if per == "unit" else posts
    torch.testing.assert_close(singly[3], means[:3].mean(0))
    torch.testing.assert_close(many.value, means.mean(0))


def test_percentile_by_hand() -> None:
    # The 75th percentile of 0, 1, 2, 3, 10 is 3.
    scaled = normalized(torch.tensor([10.0, 0.0, 3.0, 1.0, 2.0]), "percentile")
    torch.testing.assert_close(scaled, torch.tensor([1.0, 0.0, 1.0, 1 / 3, 2 / 3]))
    assert normalized(torch.tensor([0.0, 0.0, 0.0, 0.0, 5.0]), "percentile").tolist() == [0] * 4 + [
        1
    ]
    rng = torch.rand(101, generator=torch.Generator().manual_seed(0))
    wanted = (rng - rng.min()) / (rng.quantile(0.75) - rng.min())
    torch.testing.assert_close(normalized(rng, "percentile"), wanted.clamp(0, 1))


def test_rules_by_hand() -> None:
    pre, post = torch.tensor([[[2.0]]]), torch.tensor([[[3.0]]])
    assert bcm(pre, post, torch.tensor([[[1.0]]])).total().item() == 3 * (3 - 1) * 2
    assert hebb(pre, post).total().item() == 6
    before = torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1, 1)
    after = torch.tensor([0.0, 0.0, 1.0]).view(3, 1, 1, 1)
    for first, then, wanted, why in (
        (before, after, 0.25, "the input fired two steps earlier"),
        (after, before, -0.25, "the input fired two steps later"),
        (before, before, 0, "simultaneous spikes do not count"),
    ):
        change = stdp(first, then, 0.5)
        assert change.total().item() == change.strengths().item() == wanted, why


def test_batches_held_back_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of a normal, a smaller and again a normal size, worked out at once or one by one."""
    draw = torch.Generator().manual_seed(0)
    batches = [(spikes(n, (5, 2, 2), draw), spikes(n, (7, 3, 3), draw)) for n in (4, 4, 1, 4)]
    states = []
    for held in (1, 10**9):
        monkeypatch.setattr(layer, "HELD", held)
        state = LayerState("conv", 7, 5, DPAP(), synapses=True, steps=2)
        for pre, post in batches:
            state.observe(pre.double(), post.double())
        state.update(0)
        states.append(state)
    for name in ("plasticity", "products", "unit_survival", "synapse_survival", "time_survival"):
        one, many = (getattr(state, name) for state in states)
        torch.testing.assert_close(many, one, msg=name)
    torch.testing.assert_close(states[0].threshold.value, states[1].threshold.value)


def test_time_importance_by_hand() -> None:
    pre = torch.tensor([[1.0, 1.0], [0.0, 1.0]]).view(2, 1, 2)
    post = torch.tensor([[0.0], [3.0]]).view(2, 1, 1)
    # Step 0: no output. Step 1: traces 0.5 and 1.5 of the inputs, times 3 spikes.
    assert time_importance(running_traces(pre, 0.5), post).tolist() == [[0.0, 6.0]]


def test_trace_by_hand() -> None:
    spikes = torch.tensor([1.0, 0.0, 1.0]).view(3, 1, 1)
    assert trace(spikes, 0.5).item() == 0.25 * 1 + 0.5 * 0 + 1
    maps = torch.zeros(2, 1, 1, 2, 2)
    maps[0, 0, 0, 0] = 1  # two spikes at the first step
    maps[1, 0, 0, 1, 1] = 1  # one at the second
    assert trace(unit_activity(maps), 0.5).item() == 0.5 * 2 + 1
    assert trace(spikes[:1], 0.5).item() == 1, "T = 1"


def test_survival_by_hand() -> None:
    rule = SurvivalRule(epsilon=1.5, eta=10.0, bonus=2.0, gamma=0.9)
    before, importance = torch.tensor([1.0, 1.0, 1.0]), torch.tensor([0.0, 5.0, 10.0])
    after = rule.update(before, importance, age=10)
    # delta = 2 * [0, 0.5, 1] - 1.5 = [-1.5, -0.5, 0.5]; the last gets the bonus; exp(-1).
    factor = math.exp(-1)
    wanted = [0.9 - 1.5 * factor, 0.9 - 0.5 * factor, 0.9 + 2.5 * factor]
    torch.testing.assert_close(after, torch.tensor(wanted))
    stairs = replace(rule, decay="staircase")
    torch.testing.assert_close(stairs.update(before, importance, age=19), torch.tensor(wanted))
    edge = SurvivalRule(epsilon=1.0, eta=1.0, bonus=2.0)
    one = torch.zeros(3)
    assert edge.update(one, importance, 0)[1] == 2, "delta = 0 earns the bonus in the paper"
    assert replace(edge, bonus_at_zero=False).update(one, importance, 0)[1] == 0, "not in the code"


def test_equal_importance_is_one_half() -> None:
    assert normalized(torch.zeros(4)).tolist() == [0.5] * 4


def spikes(batch: int, shape: tuple[int, ...], draw: torch.Generator) -> Tensor:
    """Random spikes, [2, B, *shape]; the first units are quiet, the last ones busy."""
    rates = torch.linspace(0.02, 0.9, shape[0]).view(-1, *[1] * (len(shape) - 1))
    return (torch.rand(2, batch, *shape, generator=draw) < rates).float()


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
            name: tuple(activity_scale * spikes(batch, shape, draw) for shape in pair)
            for name, pair in shapes.items()
        }
        pruner.observe(Activity(activity))
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


@pytest.mark.parametrize("rule", ["hebb", "stdp"])
@pytest.mark.parametrize("evidence", ["trace", "plasticity"])
def test_ablations_prune_too(rule: str, evidence: str) -> None:
    pruner, masks = run_dpap("hybrid", 0.3, rule=rule, evidence=evidence)
    assert pruner.context.structure.density(masks[-1]) == pytest.approx(0.3, abs=0.005)


def test_neurons_only_and_synapses_only() -> None:
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


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 999), st.sampled_from([PAPER, RELEASED]))
def test_permuting_units_permutes_everything(seed: int, preset: Preset) -> None:
    draw = torch.Generator().manual_seed(seed)
    order = torch.randperm(7, generator=draw)
    one, other = (LayerState("linear", 7, 5, preset, synapses=True, steps=2) for _ in range(2))
    for age in range(4):
        for size in (3, 1):  # a last, smaller batch
            pre = torch.rand(2, size, 5, generator=draw, dtype=torch.double)
            post = torch.rand(2, size, 7, generator=draw, dtype=torch.double)
            one.observe(pre, post)
            other.observe(pre, post[:, :, order])
        for state in (one, other):
            state.update(age)
            state.end_update()
    torch.testing.assert_close(one.unit_survival[order], other.unit_survival)
    for name in ("synapse_survival", "time_survival"):
        torch.testing.assert_close(getattr(one, name)[order], getattr(other, name))


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="minimum_width"):
        DPAP(minimum_width=0)
    with pytest.raises(ValueError, match="stop"):
        DPAP(stop=1.5)
