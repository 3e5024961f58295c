"""Dendritic spines: ranges after some updates, by hand."""

from __future__ import annotations

import torch

from baselines.shared.spines import Spines


def test_a_weight_beyond_its_range_widens_it_by_the_mean_excess() -> None:
    weight = torch.tensor([1.0, -1.0, 0.5])
    spines = Spines(weight, patience=2)
    assert spines.width.tolist() == [2, 2, 2]
    spines.update(torch.tensor([2.0, -1.0, 0.5]))
    assert spines.high.tolist() == [1, 1, 1], "one update is not enough"
    spines.update(torch.tensor([3.0, -3.0, 0.5]))
    # Excesses 1 and 2; and 0 and 2 below.
    assert spines.high.tolist() == [2.5, 1, 1]
    assert spines.low.tolist() == [-1, -2, -1]


def test_a_weight_that_returns_into_its_range_starts_again() -> None:
    spines = Spines(torch.tensor([1.0]), patience=2)
    for w in (2.0, 0.0, 2.0):
        spines.update(torch.tensor([w]))
    assert spines.high.tolist() == [1]


def test_a_shrinking_weight_narrows_both_sides() -> None:
    weight = torch.tensor([0.8, 1.0])
    spines = Spines(weight, patience=2)
    for w in (0.6, 0.4, 0.3, 0.2):
        spines.update(torch.tensor([w, -w if w > 0.5 else w + 1]))
    assert spines.high.tolist()[0] == 0.75**2
    assert spines.low.tolist()[0] == -(0.75**2)
    spines.clamp_(weight)
    assert weight.tolist()[0] == 0.75**2
