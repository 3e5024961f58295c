"""Shapes of weights from a layout alone, against networks that are built."""

from __future__ import annotations

import pytest
from torch import nn

from pipelines.networks.initial import build_network
from pipelines.settings.network import NetworkSpec
from pipelines.settings.weight_shapes import weight_shapes


@pytest.mark.parametrize(
    ("layout", "shape"),
    [
        ("16C3-MP2-32C3-MP2-64FC", (1, 8, 8)),
        ("2Conv2FC", (2, 34, 34)),
        ("4C7s2-MP3s2-[4C3-4C3]P-[8C3s2-8C3]-[8C3-8C3]-GAP", (3, 32, 32)),
        ("4C5-AP2-[4C3-8C3s2]-GAP-5FC", (3, 17, 17)),
    ],
)
def test_shapes_are_those_of_the_network(layout: str, shape: tuple[int, int, int]) -> None:
    spec = NetworkSpec(kind="snn", layout=layout, time_steps=2)
    layers = build_network(spec, shape, 10, 0).named_modules()
    assert weight_shapes(spec.layout, shape, 10) == {
        name: (layer.weight.shape[0], layer.weight[0].numel())
        for name, layer in layers
        if isinstance(layer, nn.Conv2d | nn.Linear)
    }
