"""SCA: a regrown unit gets its parameters back."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import baselines.sca
from baselines.sca import SCA
from baselines.shared.groups import UnitGroup
from baselines.shared.masks import Masks
from tests.helpers.methods import (
    TwoExamples,
    begin,
    constant_network,
)


def test_a_regrown_unit_has_its_stored_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    net = constant_network("snn", layout="4C3-4FC", weight=0)
    before = {n: p.detach().clone() for n, p in net.named_parameters()}
    growth: dict[str, Tensor] = {}
    monkeypatch.setattr(baselines.sca, "scale_gradients", lambda *_: growth)
    pruner = begin(SCA(start=0.1, stop=0.9, regrowth=0.5), net, probe=TwoExamples())
    groups: tuple[UnitGroup, ...] = pruner.context.structure.groups

    def update(progress: float, potential: list[float], wanted: list[float]) -> Masks:
        pruner.potentials = {g.name: torch.tensor(potential).float() for g in groups}
        growth.update({g.name: torch.tensor(wanted).float() for g in groups})
        masks: Masks = pruner.masks(progress)
        masks.project(net)
        return masks

    masks = update(0.3, [1, 2, 3, 4], [1, 2, 3, 4])
    assert not masks.units["conv1"][0]
    assert net.get_parameter("conv1.weight")[0].abs().sum() == 0
    with torch.no_grad():
        net.get_parameter("conv1.weight")[3] += 1  # an optimizer step on an alive unit
    masks = update(0.35, [0, 1, 2, 9], [9, 1, 1, 1])
    assert masks.units["conv1"].tolist()[::3] == [True, True], (
        "pruned units of large gradient return"
    )
    for name in ("conv1.weight", "conv1_norm.weight", "conv1_norm.bias"):
        torch.testing.assert_close(net.get_parameter(name)[0], before[name][0])
    fc = masks.parameters["fc1.weight"]
    torch.testing.assert_close(net.get_parameter("fc1.weight"), before["fc1.weight"] * fc)
    torch.testing.assert_close(
        net.get_parameter("conv1.weight")[3], before["conv1.weight"][3] + 1, msg="not rewound"
    )
    dead = ~masks.units["fc1"]
    assert bool(dead.any())
    masks = update(0.95, [9, 9, 9, 9], [9, 9, 9, 9])
    assert not bool((masks.units["fc1"] & dead).any()), "the last update only prunes"


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="regrowth"):
        SCA(regrowth=1.0)
