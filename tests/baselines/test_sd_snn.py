"""SD-SNN: scores from spines, and regeneration."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from baselines.sd_snn import SDSNN
from tests.helpers.methods import begin, constant_network


def _begun(**options: Any) -> SDSNN:
    pruner: SDSNN = begin(SDSNN(**options), constant_network("snn", layout="4C3-6FC"), "hybrid")
    return pruner


def test_a_unit_has_the_sum_of_the_spines_into_it() -> None:
    pruner = _begun()
    # Ranges are [-2, 2] everywhere, so units are equal.
    assert pruner.unit_scores()["conv1"].tolist() == [1, 1, 1, 1]
    pruner.spines["conv1"].high[0] = 0  # width 2 instead of 4
    scores = pruner.unit_scores()["conv1"]
    assert scores.tolist() == pytest.approx([0.5 / 0.875, *[1 / 0.875] * 3])


def test_synapses_of_large_gradient_regenerate() -> None:
    pruner = _begun(regeneration=0.25, stop=1.0)
    kept = torch.ones(6, 16, dtype=torch.bool)
    kept[0, :8] = False
    pruner.kept = pruner.context.structure.masks(
        {"conv1": torch.ones(4).bool(), "fc1": torch.ones(6).bool()}, {"fc1": kept}
    )
    pruner.growth["fc1"][0, :4] = -9.0
    pruner.now = (
        0.5  # the half cosine is 1 / 2, so an eighth of 88 would be exchanged; 8 are absent
    )
    pruner.spines["fc1"].high[5] = -1.5  # width 0.5: the first to be dropped
    scores = pruner.weight_scores()["fc1"]
    assert bool((scores[0, :8] == torch.inf).all())
    assert int((scores[5] < 1).sum()) == 8
    pruner.now = 1.0
    scores = pruner.weight_scores()["fc1"]
    assert scores[0, :8].tolist() == pytest.approx([0.9] * 4 + [0] * 4)
    assert float(scores[kept].min()) == 1.5


def test_weights_are_clamped_to_their_spines_and_pruned_from_start_on() -> None:
    pruner = _begun(updates=10, patience=2, start=0.5, stop=1.0)
    weight = pruner.layer_weights()["fc1"].detach()  # the same memory
    with torch.no_grad():
        weight[0, 0] = 5.0
    assert pruner.masks(0.1) is None
    assert float(weight[0, 0]) == 5.0
    assert pruner.masks(0.15) is None, "no update is due"
    assert pruner.masks(0.2) is None
    assert float(weight[0, 0]) == 5.0, "its range has grown by the mean excess, 3"
    with torch.no_grad():
        weight[0, 0] = 8.0
    assert pruner.masks(0.3) is None
    assert float(weight[0, 0]) == 5.0
    masks = pruner.masks(1.0)
    assert masks is not None
    assert pruner.context.structure.density(masks) == pytest.approx(0.5, abs=0.02)
    assert not pruner.due(1.0)


def test_gradients_add_up_between_updates() -> None:
    pruner = _begun(updates=10)
    for value in (1.0, 2.0):
        for weight in pruner.layer_weights().values():
            weight.grad = torch.full_like(weight, value)
        pruner.gradients()
    assert pruner.growth["fc1"].unique().tolist() == [3]
    pruner.masks(0.1)
    assert pruner.growth["fc1"].unique().tolist() == [0]


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="patience"):
        SDSNN(patience=0)
