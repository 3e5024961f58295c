"""Masks: projection of weights and optimizer state."""

from __future__ import annotations

import pytest
import torch

from baselines.shared.groups import weight_structure
from baselines.shared.masks import Masks
from baselines.shared.selection import select
from tests.helpers.structures import generator


def momentum_optimizers() -> list[tuple[str, type[torch.optim.Optimizer], dict[str, object]]]:
    return [
        ("sgd", torch.optim.SGD, {"momentum": 0.9}),
        ("adam", torch.optim.Adam, {"amsgrad": True}),
        ("adamw", torch.optim.AdamW, {"weight_decay": 0.1}),
    ]


@pytest.mark.parametrize(("name", "kind", "options"), momentum_optimizers())
def test_projection_holds_against_momentum(
    name: str, kind: type[torch.optim.Optimizer], options: dict[str, object]
) -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Linear(5, 3))
    optimizer = kind(network.parameters(), lr=0.1, **options)

    def step() -> None:
        optimizer.zero_grad()
        network(torch.randn(8, 6)).square().sum().backward()
        optimizer.step()

    for _ in range(3):
        step()
    structure = weight_structure(network, readout="")
    scores = {x.name: torch.rand(x.shape) for x in structure.layers}
    masks = select(structure, 0.4, generator(), weights=scores)
    for _ in range(3):
        step()
        masks.project(network, optimizer)
        for parameter_name, mask in masks.parameters.items():
            parameter = network.get_parameter(parameter_name)
            assert not bool(parameter[~mask].any())
            for value in optimizer.state[parameter].values():
                if torch.is_tensor(value) and value.shape == mask.shape:
                    assert not bool(value[~mask].any()), name
    # Without the projection, momentum alone makes masked weights nonzero.
    step()
    weight = network.get_parameter("0.weight")
    assert bool(weight[~masks.parameters["0.weight"]].any())


def test_a_mask_of_no_parameter_is_refused() -> None:
    with pytest.raises(ValueError, match="fits no parameter"):
        Masks({"nope": torch.ones(2, dtype=torch.bool)}).project(torch.nn.Linear(2, 2))
