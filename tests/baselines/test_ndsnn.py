"""NDSNN: numbers of connections by hand."""

from __future__ import annotations

import pytest
import torch

from baselines.ndsnn import NDSNN
from tests.helpers.methods import begin, constant_network


def _begun(**options: float) -> NDSNN:
    pruner: NDSNN = begin(
        NDSNN(updates=10, scope="layer-wise", **options),  # type: ignore[arg-type]
        constant_network(layout="2C3-16FC"),  # 18 and 128 weights; the target is a half
        "unstructured",
    )
    pruner.latest = {}
    for name, weight in pruner.layer_weights().items():
        pruner.latest[name] = torch.arange(float(weight.numel())).view_as(weight)
    return pruner


def test_fewer_connections_grow_than_are_dropped() -> None:
    pruner = _begun(initial=1.0, fraction=0.5, least=0.1, stop=1.0)
    masks = pruner.masks(0.0)
    assert masks is not None
    assert int(masks.parameters["fc1.weight"].sum()) == 128
    # Along the cubic schedule an eighth of the 64 is left at half of the time. All connections are
    # present before, so none can grow.
    masks = pruner.masks(0.5)
    assert masks is not None
    assert int(masks.parameters["fc1.weight"].sum()) == 64 + 8
    before = pruner.kept["fc1"].clone()
    masks = pruner.masks(0.8)  # 0.2^3 of 64 is 0.512, rounded to 1
    assert masks is not None
    after = masks.parameters["fc1.weight"]
    assert int(after.sum()) == 64 + 1
    share = 0.1 + 0.4 * 0.0954915  # the half cosine at 0.8
    assert int((before & ~after).sum()) == round(share * 72) == 10
    grown = (after & ~before).flatten().nonzero().flatten()
    absent = (~before).flatten().nonzero().flatten()
    assert grown.tolist() == absent[-3:].tolist(), "those of largest gradient"


def test_the_target_is_met_at_stop_without_an_exchange() -> None:
    pruner = _begun(initial=0.75, stop=0.5)
    assert pruner.masks(0.0) is not None
    assert sum(int(kept.sum()) for kept in pruner.kept.values()) == round(0.75 * 146)
    pruner.masks(0.3)
    before = pruner.kept["fc1"].clone()
    masks = pruner.masks(0.53)
    assert masks is not None
    assert pruner.context.structure.density(masks) == 0.5
    assert not bool((masks.parameters["fc1.weight"] & ~before).any())
    assert not pruner.due(0.9)


def test_a_target_above_the_initial_density_is_met_from_the_start() -> None:
    pruner = _begun(initial=0.1)
    masks = pruner.masks(0.0)
    assert masks is not None
    assert pruner.context.structure.density(masks) == 0.5


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="least"):
        NDSNN(fraction=0.1, least=0.2)
    with pytest.raises(ValueError, match="initial"):
        NDSNN(initial=0.0)
