"""STDS: the soft threshold by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from baselines.stds import StateTransition
from tests.helpers.small_runs import (
    DENSITY,
    small_trainer,
)


def test_threshold_by_hand() -> None:
    pruner = StateTransition(stop=0.8)
    small_trainer(pruner)
    with torch.no_grad():
        total = 36 + 192
        sizes = torch.arange(1.0, total + 1)
        for w, part in zip(pruner.layer_weights().values(), sizes.split([36, 192]), strict=True):
            w.copy_(-part.view_as(w))
    pruner.begin(pruner.network, pruner.context)
    pruner.masks(0.0)
    assert pruner.layer_weights()["conv1"].view(-1)[0] == -1, "the threshold starts at zero"
    pruner.masks(0.4)  # half of the sine: half of 0.7 is pruned, 80 of 228 weights
    fc = pruner.layer_weights()["fc1"].detach().flatten()
    assert not pruner.layer_weights()["conv1"].any()
    assert fc[:44].tolist() == [0.0] * 44
    assert fc[44:47].tolist() == [-1.0, -2.0, -3.0]
    # A weight below the threshold moves too, and comes back above it.
    with torch.no_grad():
        pruner.layer_weights()["fc1"].view(-1)[0] -= 100.0
    pruner.masks(0.4)
    assert pruner.hidden["fc1"].view(-1)[0] == -137
    assert pruner.layer_weights()["fc1"].view(-1)[0] == -56, "less the threshold, now 81"
    masks = pruner.masks(0.8)
    assert masks is not None
    assert pruner.context.structure.density(masks) == pytest.approx(DENSITY, abs=0.003)
    assert not pruner.due(0.9)


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"stop": 0.0}, "stop must be"), ({"scope": "erk"}, "global or layer-wise")],
)
def test_wrong_settings_are_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        StateTransition(**options)
