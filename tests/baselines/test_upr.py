"""UPR: density and masks at the end of a run."""

from __future__ import annotations

import pytest

from baselines.upr import EnergyPruning
from tests.helpers.small_runs import (
    DENSITY,
    masks_and_weights,
)


def test_a_run_ends_at_its_density_with_hard_masks() -> None:
    pruner = EnergyPruning(strength=0.01)
    masks, weights = masks_and_weights(pruner)
    assert len(masks) == 1
    assert pruner.context.structure.density(masks[0]) == pytest.approx(DENSITY, abs=0.003)
    assert all(bool((w != 0).any()) for w in weights[-1].values())
    assert pruner.tau == 1000.0


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="0 < first"):
        EnergyPruning(first=0.0)
