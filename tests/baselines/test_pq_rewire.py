"""PQ index and the share of rewired connections, by hand."""

from __future__ import annotations

import pytest
import torch

from baselines.pq_rewire import PQRewire, least_share, pq_index
from tests.helpers.methods import begin, constant_network


@pytest.mark.parametrize(
    ("weights", "index"),
    [
        ([2.0, -2.0, 2.0], 0.0),  # equal magnitudes
        ([1.0, 0.0, 0.0, 0.0], 0.75),  # one of four: 1 - 1 / 4
        ([4.0, 1.0], 0.1),  # (mean of the roots)^2 = 2.25, mean 2.5
        ([0.0, 0.0], 0.0),
        ([], 0.0),
    ],
)
def test_index_of_roots(weights: list[float], index: float) -> None:
    assert pq_index(torch.tensor(weights), 0.5, 1.0) == pytest.approx(index)


@pytest.mark.parametrize(("p", "q"), [(0.5, 1.0), (1.0, 2.0), (0.5, 2.0)])
def test_of_equal_and_zero_weights_the_equal_ones_must_stay(p: float, q: float) -> None:
    weights = torch.tensor([3.0] * 5 + [0.0] * 15)
    assert least_share(weights, p, q) == pytest.approx(0.25)


def test_a_layer_exchanges_what_need_not_stay() -> None:
    pruner = begin(PQRewire(fraction=0.5), constant_network(layout="2C3-2FC"), "unstructured")
    pruner.masks(0.0)
    pruner.kept = {"conv1": torch.ones(2, 1, 3, 3).bool(), "fc1": torch.zeros(2, 8).bool()}
    pruner.kept["fc1"][0] = True
    with torch.no_grad():
        pruner.layer_weights()["fc1"][0] = torch.tensor([1.0] * 6 + [0.0] * 2)
    assert pruner.number("conv1", 0.1) == 0, "all magnitudes are equal"
    assert pruner.number("fc1", 0.1) == 2, "a quarter of 8"
    with torch.no_grad():
        pruner.layer_weights()["fc1"][0, 1:] = 0
    assert pruner.number("fc1", 0.1) == 4, "seven of 8, but at most a half"
    pruner.latest = {name: w.detach() * 0 for name, w in pruner.layer_weights().items()}
    pruner.latest["fc1"][1, 4:] = -1.0
    masks = pruner.masks(0.2)
    assert masks.parameters["fc1.weight"].int().tolist()[1] == [0] * 4 + [1] * 4
    assert bool(masks.parameters["fc1.weight"][0, 0])
    assert int(masks.parameters["fc1.weight"].sum()) == 8


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="p < q"):
        PQRewire(p=1.0, q=1.0)
    with pytest.raises(ValueError, match="gamma"):
        PQRewire(gamma=-1.0)
