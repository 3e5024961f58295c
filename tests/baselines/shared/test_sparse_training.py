"""Dynamic sparse training: exchanges of connections at a constant density."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from baselines.deep_r import DeepRewiring
from baselines.rigl import RigL
from baselines.set import SparseEvolutionaryTraining
from baselines.shared.sparse_training import drop_and_grow
from tests.helpers.small_runs import (
    DENSITY,
    count_returns,
    masks_and_weights,
)
from tests.helpers.structures import generator


def test_drop_and_grow_by_hand() -> None:
    kept = torch.tensor([[True, True, False], [True, False, False]])
    drop = torch.tensor([[0.5, 0.1, 0.0], [0.9, 0.0, 0.0]])
    grow = torch.tensor([[9.0, 9.0, 1.0], [9.0, 2.0, 3.0]])
    after = drop_and_grow(kept, 1, drop, grow, generator())
    assert after.tolist() == [[True, False, False], [True, False, True]]
    assert drop_and_grow(kept, 0, drop, grow, generator()).equal(kept)
    assert drop_and_grow(kept, 99, drop, grow, generator()).equal(~kept)
    whole = torch.ones(2, 2, dtype=torch.bool)
    assert drop_and_grow(whole, 1, torch.rand(2, 2), torch.rand(2, 2), generator()).equal(whole)


def test_three_seeds_exchange_different_connections_of_equal_score() -> None:
    kept, zeros = torch.arange(100) < 50, torch.zeros(100)
    found = [drop_and_grow(kept, 10, zeros, zeros, generator(seed)) for seed in range(3)]
    assert all(int(after.sum()) == 50 and int((after & kept).sum()) == 40 for after in found)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not found[one][:50].equal(found[other][:50]), "dropped"
        assert not found[one][50:].equal(found[other][50:]), "grown"


def test_fewer_connections_can_grow_than_are_dropped() -> None:
    kept = torch.tensor([True, True, True, False, False])
    drop = grow = torch.tensor([0.5, 0.1, 0.9, 2.0, 3.0])

    def after(number: int, grown: int) -> list[int]:
        return drop_and_grow(kept, number, drop, grow, generator(), grown).int().tolist()

    assert after(2, 1) == [0, 0, 1, 0, 1]
    assert after(2, 0) == [0, 0, 1, 0, 0]
    assert after(0, 9) == [1, 1, 1, 1, 1]


SPARSE: dict[str, Any] = {
    "set": lambda: SparseEvolutionaryTraining(updates=20),
    "rigl": lambda: RigL(updates=20),
    "deep-r": lambda: DeepRewiring(alpha=0.3, temperature=1e-3),
}


@pytest.mark.parametrize("name", SPARSE)
def test_the_number_of_connections_is_constant_and_some_are_exchanged(name: str) -> None:
    masks, weights = masks_and_weights(SPARSE[name]())
    target = round(DENSITY * (36 + 192))
    counts = [{n: int(m.sum()) for n, m in x.parameters.items()} for x in masks]
    assert all(count == counts[0] for count in counts), "the number per layer is constant"
    assert sum(counts[0].values()) == target
    assert len(masks) > 10
    first, last = masks[0].parameters["fc1.weight"], masks[-1].parameters["fc1.weight"]
    new = last & ~first
    assert int(new.sum()) > 5
    assert int((weights[-1]["fc1"][new] != 0).sum()) > 0.8 * int(new.sum()), (
        "grown connections are trained"
    )
    assert not weights[-1]["fc1"][~last].any()
    assert count_returns(weights) > 0, "some dropped connections come back"
