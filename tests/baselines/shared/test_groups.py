"""Sums over the parameters that units own, by hand."""

from __future__ import annotations

import torch

from baselines.shared.groups import PrunableLayer, Slice, Structure, UnitGroup
from tests.helpers.structures import chain


def test_unit_sums_by_hand() -> None:
    structure = chain([2, 2, 2])
    values = {"fc1.weight": torch.tensor([[1.0, 2.0], [3.0, 4.0]])}
    assert structure.unit_sums(values)["fc1"].tolist() == [3.0, 7.0]
    assert structure.unit_sums(values)["fc2"].tolist() == [0.0, 0.0]
    values["fc2.weight"] = torch.tensor([[10.0, 20.0], [30.0, 40.0]])
    assert structure.unit_sums(values)["fc1"].tolist() == [
        3.0 + 40,
        7.0 + 60,
    ]  # its row and its column
    assert structure.unit_sums(values)["fc2"].tolist() == [30.0, 70.0]
    batch = {name: torch.stack([v, 2 * v]) for name, v in values.items()}
    assert structure.unit_sums(batch)["fc1"].tolist() == [[43.0, 67.0], [86.0, 134.0]]


def test_unit_sums_count_flattened_maps_and_vectors() -> None:
    index = torch.arange(2).view(-1, 1)
    slices = (
        Slice("conv.weight", 0, index),
        Slice("norm.weight", 0, index),
        Slice("fc.weight", 1, torch.tensor([[0, 1], [2, 3]])),
    )
    shapes = {"conv.weight": (2, 1, 3, 3), "norm.weight": (2,), "fc.weight": (3, 4)}
    layer = PrunableLayer("conv", "conv", shapes["conv.weight"])
    structure = Structure((layer,), shapes, (UnitGroup("conv", 2, ("conv",), slices),))
    values = {name: torch.ones(shape) for name, shape in shapes.items()}
    assert structure.unit_sums(values)["conv"].tolist() == [9 + 1 + 6] * 2
    values = {name: torch.ones(5, *shape) for name, shape in shapes.items()}
    assert structure.unit_sums(values)["conv"].tolist() == [[16.0] * 2] * 5
