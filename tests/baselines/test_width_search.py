"""The search of widths: factors become widths, and the candidate of lowest loss wins."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from baselines.shared.contract import PruneContext
from baselines.width_search import WidthSearch
from pipelines.networks.initial import build_network, build_structure
from pipelines.networks.network import Network
from pipelines.settings.network import NetworkSpec

NORMS = {"conv1": torch.arange(16.0), "conv2": torch.arange(32.0), "fc1": torch.arange(64.0)}


class NarrowIsGood:
    """A probe whose loss is the number of channels that the first layer keeps."""

    def __init__(self) -> None:
        self.passes = 0

    def batches(self, samples: int) -> list[tuple[Tensor, Tensor]]:
        return [(torch.zeros(samples), torch.zeros(samples))]

    def loss(
        self, inputs: Tensor, labels: Tensor, reduction: str, parameters: Mapping[str, Tensor]
    ) -> Tensor:
        self.passes += 1
        return (parameters["conv1.weight"].flatten(1) != 0).any(1).sum()


def begun(probe: NarrowIsGood | None = None, **options: float) -> WidthSearch:
    net: Network = build_network(
        NetworkSpec(kind="ann", layout="16C3-MP2-32C3-MP2-64FC"), (1, 8, 8), 10, 0
    )
    pruner = WidthSearch(**options)  # type: ignore[arg-type]
    draw = torch.Generator().manual_seed(0)
    structure = build_structure(net, "structured")
    pruner.begin(net, PruneContext(structure, "structured", 0.25, draw, 1, probe))  # type: ignore[arg-type]
    return pruner


def widths(pruner: WidthSearch, factors: dict[str, float]) -> dict[str, int]:
    masks = pruner.keep(NORMS, factors, 0.25)
    assert abs(pruner.context.structure.density(masks) - 0.25) < 0.02
    for kept in masks.units.values():
        number = int(kept.sum())
        assert bool(kept[-number:].all()), "the units of largest norm"
    return {name: int(kept.sum()) for name, kept in masks.units.items()}


def test_layers_keep_shares_in_proportion_to_their_factors() -> None:
    pruner = begun()
    equal = widths(pruner, dict.fromkeys(NORMS, 1.0))
    assert equal["conv2"] == pytest.approx(2 * equal["conv1"], abs=1)
    assert equal["fc1"] == pytest.approx(4 * equal["conv1"], abs=3)
    wide = widths(pruner, {"conv1": 1.0, "conv2": 2.0, "fc1": 1.0})
    assert wide["conv2"] == pytest.approx(4 * wide["conv1"], abs=3)
    assert wide["fc1"] < equal["fc1"], "other layers pay for it"


def test_the_candidate_of_lowest_loss_wins() -> None:
    probe = NarrowIsGood()
    pruner = begun(probe, candidates=20)
    factors = pruner.search(NORMS)
    assert probe.passes == 20, "each candidate passes the samples once"
    equal = widths(pruner, dict.fromkeys(NORMS, 1.0))
    assert widths(pruner, factors)["conv1"] < equal["conv1"]


def test_without_other_candidates_all_layers_keep_the_same_share() -> None:
    assert begun(NarrowIsGood(), candidates=1).search(NORMS) == dict.fromkeys(NORMS, 1.0)


def test_the_widths_are_searched_once() -> None:
    probe = NarrowIsGood()
    pruner = begun(probe, candidates=3, start=0.2, stop=0.4)
    assert pruner.masks(0.1) is None
    assert [pruner.masks(0.01 * step) is not None for step in (20, 30, 40, 50)] == [1, 1, 1, 0]
    assert probe.passes == 3


@pytest.mark.parametrize("options", [{"candidates": 0}, {"samples": 0}, {"spread": -0.1}])
def test_settings_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="at least"):
        WidthSearch(**options)  # type: ignore[arg-type]
