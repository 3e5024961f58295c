"""Structures of linear layers for tests of selection."""

from __future__ import annotations

import torch

from baselines.shared.groups import PrunableLayer, Slice, Structure, UnitGroup


def chain(widths: list[int]) -> Structure:
    """Return a chain of linear layers; a unit owns its row and a column of the next layer."""
    names = [f"fc{i}" for i in range(1, len(widths))]
    shapes = {f"{n}.weight": (o, i) for n, i, o in zip(names, widths, widths[1:], strict=False)}
    layers = tuple(PrunableLayer(n, "linear", shapes[f"{n}.weight"]) for n in names)
    groups = []
    for n, following in zip(names, [*names[1:], None], strict=True):
        size = shapes[f"{n}.weight"][0]
        index = torch.arange(size).view(-1, 1)
        slices = [Slice(f"{n}.weight", 0, index)]
        if following:
            slices.append(Slice(f"{following}.weight", 1, index))
        groups.append(UnitGroup(n, size, (n,), tuple(slices)))
    return Structure(layers, shapes, tuple(groups))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
