"""Erdos-Renyi-kernel densities, by hand."""

from __future__ import annotations

import pytest

from baselines.shared.allocation import erk_densities
from baselines.shared.groups import PrunableLayer, Structure
from tests.helpers.structures import chain


def test_erk_densities_by_hand() -> None:
    # fc1 10x10, fc2 30x10: sums of dimensions 20 and 40; 0.3 * 400 = 120 weights, scale 2.
    structure = chain([10, 10, 30])
    assert erk_densities(structure, 0.3) == {
        "fc1": pytest.approx(0.4),
        "fc2": pytest.approx(80 / 300),
    }
    # At 0.9 the scale is 6. fc1 would get 120 of its 100 weights, so it stays dense, and fc2 gets
    # the other 260.
    assert erk_densities(structure, 0.9) == {"fc1": 1.0, "fc2": pytest.approx(260 / 300)}
    assert set(erk_densities(structure, 1.0).values()) == {1.0}
    conv = PrunableLayer("conv", "conv", (4, 2, 3, 3))
    alone = Structure((conv,), {"conv.weight": conv.shape})
    assert erk_densities(alone, 0.25)["conv"] == pytest.approx(0.25)
    with pytest.raises(ValueError, match="density must be in"):
        erk_densities(structure, 0.0)
