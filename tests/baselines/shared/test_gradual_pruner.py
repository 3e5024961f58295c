"""Gradual pruning: the scope is the method's choice in every granularity."""

from __future__ import annotations

import pytest
import torch

from baselines.random import Random
from baselines.shared.selection import Scope
from tests.helpers.methods import begin, constant_network

LAYOUT = "8C3-MP2-8C3-16FC"


def widths(scope: Scope, granularity: str) -> tuple[list[int], float]:
    """Kept units of each group at density 0.5, and the density, with random scores in (0, 1)."""
    pruner = begin(
        Random(start=0.0, stop=0.0, scope=scope), constant_network(layout=LAYOUT), granularity
    )
    # The scores of conv1 are largest, so a threshold on scores keeps all of it.
    pruner.units["conv1"] += 1
    masks = pruner.masks(0.0)
    kept = [int(masks.units[group.name].sum()) for group in pruner.context.structure.groups]
    return kept, pruner.context.structure.density(masks)


@pytest.mark.parametrize("granularity", ["structured", "hybrid"])
def test_scopes_give_different_widths(granularity: str) -> None:
    # Sizes: conv1 72, conv2 576, fc1 16 x 8 = 128 weights.
    together, density = widths("global", granularity)
    assert together[0] == 8, "the highest scores are in conv1"
    each, _ = widths("layer-wise", granularity)
    shares = [n / size for n, size in zip(each, (8, 8, 16), strict=True)]
    assert max(shares) - min(shares) <= 1 / 8, "the same share of each group"
    protected, _ = widths("protect-small", granularity)
    assert protected[0] > protected[1], "the small convolution keeps more"
    assert (protected[2] == 16) == (granularity == "hybrid"), "neurons stay with their synapses"
    assert density == pytest.approx(0.5, abs=0.002 if granularity == "hybrid" else 0.05)


def test_structured_random_is_layer_wise_by_default() -> None:
    pruner = begin(Random(start=0.0, stop=0.0), constant_network(layout=LAYOUT))
    pruner.units["conv1"] += torch.tensor(1.0)
    masks = pruner.masks(0.0)
    assert int(masks.units["conv1"].sum()) < 8
