"""Methods whose weights come back, or go back: how many there are, and what they are then."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from baselines.deep_r import DeepRewiring
from baselines.grad_r import GradientRewiring
from baselines.lth import LotteryTicket
from baselines.rigl import RigL
from baselines.set import SparseEvolutionaryTraining
from baselines.shared.contract import PruneContext, Pruner
from baselines.shared.soft_masks import SoftMasks
from baselines.shared.masks import Masks
from baselines.stds import StateTransition
from baselines.upr import EnergyPruning
from pipelines.data.splits import Split, TrainingData
from pipelines.settings.network import NetworkSpec
from pipelines.settings.workload import Recipe
from pipelines.training.budget import BudgetMeter
from pipelines.training.cell import build_network, build_structure, stream
from pipelines.training.schedule import learning_rate
from pipelines.training.trainer import Trainer

RECIPE = Recipe(epochs=1, batch_size=8, optimizer="adam", learning_rate=0.02)
DENSITY = 0.3


def trainer(pruner: Pruner, steps: int = 40) -> Trainer:
    """The loop on a small network, for some steps of eight samples."""
    draw = torch.Generator().manual_seed(0)
    spec = NetworkSpec(kind="snn", layout="4C3-MP2-12FC", time_steps=2)
    net = build_network(spec, (1, 4, 4), 3, 0)
    split = Split(torch.randn(40, 1, 4, 4, generator=draw), torch.arange(40) % 3)
    structure = build_structure(net, "unstructured")
    rate = partial(learning_rate, RECIPE)
    pruner.begin(net, PruneContext(structure, "unstructured", DENSITY, draw, 2, None, rate))
    meter = BudgetMeter(8 * steps)
    data = TrainingData(split, split, 3)
    return Trainer(net, pruner, structure, data, RECIPE, meter, stream(0, "batches"))


def history(pruner: Pruner, steps: int = 40) -> tuple[list[Masks], list[dict[str, Tensor]]]:
    """All masks of a run, and the weights after each step."""
    run, masks, weights = trainer(pruner, steps), list[Masks](), list[dict[str, Tensor]]()
    enforce = run.live.prune

    def noting(found: Masks | None, progress: float) -> None:
        enforce(found, progress)
        masks.extend([found] if found else [])
        weights.append({n: w.detach().clone() for n, w in pruner.layer_weights().items()})

    run.live.prune = noting  # type: ignore[method-assign]
    run.run()
    return masks, weights


def returns(weights: list[dict[str, Tensor]]) -> int:
    """How often a weight became zero in one step and was no longer zero after a later one."""
    total = 0
    for name in weights[0]:
        there = torch.stack([step[name] for step in weights]) != 0
        gone = (there[:-1] & ~there[1:]).cumsum(0) > 0
        total += int((gone[:-1] & ~there[1:-1] & there[2:]).sum())
    return total


SPARSE: dict[str, Any] = {
    "set": lambda: SparseEvolutionaryTraining(updates=20),
    "rigl": lambda: RigL(updates=20),
    "deep-r": lambda: DeepRewiring(alpha=0.3, temperature=1e-3),
}


@pytest.mark.parametrize("name", SPARSE)
def test_sparse_training_keeps_its_number_and_exchanges(name: str) -> None:
    masks, weights = history(SPARSE[name]())
    target = round(DENSITY * (36 + 192))
    counts = [{n: int(m.sum()) for n, m in x.parameters.items()} for x in masks]
    assert all(count == counts[0] for count in counts), "each layer keeps its number"
    assert sum(counts[0].values()) == target
    assert len(masks) > 10
    first, last = masks[0].parameters["fc1.weight"], masks[-1].parameters["fc1.weight"]
    new = last & ~first
    assert int(new.sum()) > 5
    assert int((weights[-1]["fc1"][new] != 0).sum()) > 0.8 * int(new.sum()), "newcomers are trained"
    assert not weights[-1]["fc1"][~last].any()
    assert returns(weights) > 0, "what was pruned may come back"


def test_set_drops_the_same_share_of_either_sign() -> None:
    weight = torch.tensor([0.1, 0.2, 0.3, 0.4, -5.0, -6.0, -7.0, -8.0])
    scores = SparseEvolutionaryTraining().drop_scores(weight)
    assert scores.tolist() == [0.0, 0.25, 0.5, 0.75, 0.0, 0.25, 0.5, 0.75]


def test_rigl_grows_where_the_gradient_is_largest_and_ever_less() -> None:
    pruner = RigL(fraction=0.5, updates=10, stop=1.0)
    run = trainer(pruner)
    pruner.masks(0.0)
    weight = pruner.layer_weights()["fc1"]
    before = pruner.kept["fc1"].clone()
    with torch.no_grad():
        weight.copy_(torch.arange(192.0).view_as(weight) + 1)
    for w in pruner.layer_weights().values():
        w.grad = -torch.arange(float(w.numel())).view_as(w)
    pruner.gradients()
    pruner.masks(0.5)  # a quarter is exchanged: half of the fraction, by the cosine
    after, number = pruner.kept["fc1"], round(0.25 * int(before.sum()))
    present, absent = before.flatten().nonzero().flatten(), (~before.flatten()).nonzero().flatten()
    assert (before & ~after).flatten().nonzero().flatten().tolist() == present[:number].tolist()
    assert (after & ~before).flatten().nonzero().flatten().tolist() == absent[-number:].tolist()
    assert pruner.exchanged(0.0) == 0.5
    assert pruner.exchanged(0.25) == pytest.approx(0.5 * 0.853553)
    assert not pruner.due(1.0)
    assert run.live.masks == Masks(), "nothing was trained here"


def test_deep_r_fixes_signs() -> None:
    pruner = DeepRewiring(alpha=0.3, temperature=1e-3, stop=1.0)
    _, weights = history(pruner)
    for step in weights[1:]:
        for name, weight in step.items():
            assert not bool((weight * pruner.signs[name] < 0).any())
    assert returns(weights) > 0


def test_deep_r_step_by_hand() -> None:
    pruner = DeepRewiring(alpha=0.5, temperature=0.0)
    trainer(pruner)
    pruner.masks(0.0)
    rate = learning_rate(RECIPE, 0.2)
    kept = pruner.kept["fc1"].clone()
    weight = pruner.layer_weights()["fc1"]
    with torch.no_grad():
        weight.copy_(kept * pruner.signs["fc1"] * 0.1)
        fallen = int(kept.flatten().nonzero()[0])
        weight.view(-1)[fallen] *= 0.01  # 0.001 is less than rate * alpha
    pruner.masks(0.2)
    stay = kept.clone()
    stay.view(-1)[fallen] = False
    expected = stay * pruner.signs["fc1"] * (0.1 - 0.5 * rate)
    torch.testing.assert_close(weight.detach(), expected)
    assert bool((pruner.kept["fc1"] & stay).sum() == stay.sum())
    assert int(pruner.kept["fc1"].sum()) == int(kept.sum())


def test_grad_r_by_hand() -> None:
    pruner = GradientRewiring(alpha=0.5, stop=1.0)
    trainer(pruner)
    pruner.masks(0.0)
    weight, signs = pruner.layer_weights()["fc1"], pruner.signs["fc1"]
    theta, drift = signs * pruner.hidden["fc1"], 0.5 * learning_rate(RECIPE, 0.2)
    assert pruner.mean == pytest.approx(-1.0217, abs=1e-4)  # log(2 * 0.3) / 0.5
    with torch.no_grad():  # the optimizer takes more than the first has, and the second's half
        weight.view(-1)[0] *= -0.5
        weight.view(-1)[1] *= 0.5
    assert theta.view(-1)[:2].min() > 2 * drift
    pruner.masks(0.2)
    expected = theta.clone()
    expected.view(-1)[0] *= -0.5
    expected.view(-1)[1] *= 0.5
    expected -= drift
    torch.testing.assert_close(signs * pruner.hidden["fc1"], expected)
    torch.testing.assert_close(weight.detach(), signs * expected.relu())
    assert weight.view(-1)[0] == 0, "disconnected"
    with torch.no_grad():  # its gradient pulls it back, although it is zero
        weight.view(-1)[0] += signs.view(-1)[0] * (theta.view(-1)[0] + drift)
    pruner.masks(0.2)
    assert (weight.detach() * signs).view(-1)[0] > 0, "connected again"


def test_grad_r_really_reconnects_in_training() -> None:
    _, weights = history(GradientRewiring(alpha=0.25, stop=0.8))
    assert returns(weights) > 0


def test_stds_threshold_by_hand() -> None:
    pruner = StateTransition(stop=0.8)
    trainer(pruner)
    with torch.no_grad():
        total = 36 + 192
        sizes = torch.arange(1.0, total + 1)
        for w, part in zip(pruner.layer_weights().values(), sizes.split([36, 192]), strict=True):
            w.copy_(-part.view_as(w))
    pruner.begin(pruner.network, pruner.context)
    pruner.masks(0.0)
    assert pruner.layer_weights()["conv1"].view(-1)[0] == -1, "the threshold starts at zero"
    pruner.masks(0.4)  # half of the sine: half of 1 - 0.3 is pruned, 80 of 228 weights
    fc = pruner.layer_weights()["fc1"].detach().flatten()
    assert not pruner.layer_weights()["conv1"].any()
    assert fc[:44].tolist() == [0.0] * 44
    assert fc[44:47].tolist() == [-1.0, -2.0, -3.0]
    with torch.no_grad():  # below the threshold a weight moves too, and comes back above it
        pruner.layer_weights()["fc1"].view(-1)[0] -= 100.0
    pruner.masks(0.4)
    assert pruner.hidden["fc1"].view(-1)[0] == -137
    assert pruner.layer_weights()["fc1"].view(-1)[0] == -56, "less the threshold, now 81"
    masks = pruner.masks(0.8)
    assert masks is not None
    assert pruner.context.structure.density(masks) == pytest.approx(DENSITY, abs=0.003)
    assert not pruner.due(0.9)


def test_lth_rewinds_to_the_early_iterate_exactly() -> None:
    pruner = LotteryTicket(rounds=2, rewind=0.1, final=0.5)
    assert pruner.restarts() == (0.25, 0.5)
    masks, weights = history(pruner)  # 40 steps: kept after step 4, rewound after 10 and 20
    assert [pruner.context.structure.density(m) for m in masks] == pytest.approx(
        [DENSITY**0.5, DENSITY], abs=0.003
    )
    for found, step in zip(masks, (10, 20), strict=True):
        for name, mask in found.parameters.items():
            layer = name.removesuffix(".weight")
            assert torch.equal(weights[step][layer], weights[4][layer] * mask)
            assert not torch.equal(weights[step - 1][layer], weights[4][layer])
    one, two = (m.parameters["fc1.weight"] for m in masks)
    assert not bool((two & ~one).any()), "what is pruned stays pruned"
    trained = weights[9]["fc1"].abs()
    assert trained[one].min() >= trained[~one].max(), "pruned by the trained weights"
    statistics = pruner.early["fc1_norm.running_mean"]
    assert not torch.equal(statistics, pruner.network.state_dict()["fc1_norm.running_mean"])


def test_soft_masks_move_by_hand() -> None:
    soft = SoftMasks({"conv1": torch.ones(1, 1, 1, 1), "fc1": torch.ones(2, 2)})
    assert list(soft.units) == ["fc1"], "what the first layer reads are no neurons"
    assert soft.open(5.0)["conv1"].item() == 0.5
    assert soft.open(5.0)["fc1"].flatten().tolist() == [0.25] * 4
    slopes = {"conv1": torch.zeros(1, 1, 1, 1), "fc1": torch.tensor([[-1.0, 0.0], [0.0, 0.0]])}
    spikes = {"conv1": torch.zeros(1), "fc1": torch.tensor([1.0, 9.0])}
    soft.step(slopes, spikes, 0.1, 5.0, 0.01)  # costs 1 / 20 and 9 / 20 of 0.1
    signs = soft.weights["fc1"].detach().sign()
    assert signs.tolist() == [[1, -1], [-1, -1]], "useful ones open, and others close"
    assert soft.units["fc1"].detach().sign().tolist() == [[1, -1]]
    assert soft.weights["conv1"].item() == 0


def test_upr_prunes_what_carries_spikes_for_nothing() -> None:
    pruner = EnergyPruning(strength=0.01)
    masks, weights = history(pruner)
    assert len(masks) == 1
    assert pruner.context.structure.density(masks[0]) == pytest.approx(DENSITY, abs=0.003)
    assert all(bool((w != 0).any()) for w in weights[-1].values())
    assert pruner.tau == 1000.0


def test_bad_settings_are_refused() -> None:
    for make, reason in [
        (lambda: RigL(fraction=2.0), "fraction must be"),
        (lambda: LotteryTicket(rounds=0), "rounds >= 1"),
        (lambda: LotteryTicket(rewind=0.5), "rewind must be"),
        (lambda: GradientRewiring(alpha=0.0), "alpha must be positive"),
        (lambda: StateTransition(stop=0.0), "stop must be"),
        (lambda: StateTransition(scope="erk"), "global or layer-wise"),
        (lambda: DeepRewiring(alpha=-1.0), "alpha >= 0"),
        (lambda: EnergyPruning(first=0.0), "0 < first"),
    ]:
        with pytest.raises(ValueError, match=reason):
            make()
