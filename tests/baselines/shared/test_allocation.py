"""Erdos-Renyi-kernel densities, by hand."""

from __future__ import annotations

import pytest

from baselines.shared.allocation import (
    erk_densities,
    layer_densities,
    unit_shares,
    weights_of_units,
)
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


def test_protect_small_densities_by_hand() -> None:
    # Sizes 8 and 64: shares 8^(-1/3) = 1/2 and 64^(-1/3) = 1/4, so 4 to 16 weights. At 0.25 the 18
    # weights split into 3.6 and 14.4.
    structure = chain([2, 4, 16])
    assert [layer.size for layer in structure.layers] == [8, 64]
    assert layer_densities(structure, 0.25, "protect-small") == {
        "fc1": pytest.approx(3.6 / 8),
        "fc2": pytest.approx(14.4 / 64),
    }


def test_unit_shares_by_hand() -> None:
    structure = chain([2, 4, 16])
    assert unit_shares(structure, "layer-wise") == {"fc1": 1, "fc2": 1}
    assert unit_shares(structure, "erk") == {"fc1": 6 / 8, "fc2": 20 / 64}
    shares = unit_shares(structure, "protect-small")
    assert shares == {"fc1": pytest.approx(0.5), "fc2": pytest.approx(0.25)}
    shares = unit_shares(structure, "protect-small", ["fc2"])
    assert shares == {"fc1": pytest.approx(0.5), "fc2": float("inf")}


@pytest.mark.parametrize(
    ("density", "expected"),
    [
        (0.5, 0.75 * 8),  # d (2 - d) of the 8 weights of fc1
        (1.0, 8),
    ],
)
def test_layers_without_selected_weights_keep_twice_the_density(
    density: float, expected: float
) -> None:
    structure = chain([2, 4, 16])
    assert weights_of_units(structure, density, {"fc2": None}) == pytest.approx(expected)


def test_the_other_layers_keep_half_the_density() -> None:
    # fc1 has 64 weights, fc2 16: 0.1 * (80 - 16 / 2) = 7.2 instead of 0.19 * 64 = 12.16.
    structure = chain([8, 8, 2])
    assert weights_of_units(structure, 0.1, {"fc2": None}) == pytest.approx(7.2)
