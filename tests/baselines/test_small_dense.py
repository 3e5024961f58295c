"""The small dense network: equal shares of all layers, and weights as at its own initialisation."""

from __future__ import annotations

import torch

from baselines.shared.contract import PruneContext, SynopsTarget
from baselines.shared.masks import Masks
from baselines.small_dense import SETTLING, SmallDense
from pipelines.networks.initial import build_network, build_structure
from pipelines.settings.network import NetworkSpec


def _network(
    density: float,
) -> tuple[SmallDense, dict[str, torch.Tensor], dict[str, int]]:
    net = build_network(NetworkSpec(kind="ann", layout="16C3-MP2-32C3-64FC"), (1, 8, 8), 10, 0)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    structure, pruner = build_structure(net, "structured"), SmallDense()
    pruner.begin(net, PruneContext(structure, "structured", density, torch.Generator()))
    masks = pruner.masks(0.0)
    assert masks is not None
    widths = {name: int(kept.sum()) for name, kept in masks.units.items()}
    assert abs(structure.density(masks) - density) < 0.02
    assert all(bool(kept[: widths[name]].all()) for name, kept in masks.units.items())
    assert not pruner.due(0.5)
    assert pruner.masks(0.5) is None
    return pruner, before, widths


def test_layers_are_narrowed_by_the_same_factor() -> None:
    _, _, widths = _network(0.25)
    assert widths == {"conv1": 8, "conv2": 16, "fc1": 32}


def test_weights_grow_with_the_square_root_of_the_lost_fan_in() -> None:
    pruner, before, _ = _network(0.25)  # half of each layer
    for name, growth in {"conv1": 1.0, "conv2": 2**0.5, "fc1": 2**0.5, "readout": 2**0.5}.items():
        weight = pruner.network.get_parameter(f"{name}.weight").detach()
        torch.testing.assert_close(weight, before[f"{name}.weight"] * growth)


def test_target_synops_are_met_before_training_by_their_ratio() -> None:
    """With 1000 SynOps x density, the density is SETTLING x target / 1000."""
    net = build_network(NetworkSpec(kind="ann", layout="16C3-MP2-32C3-64FC"), (1, 8, 8), 10, 0)
    structure, pruner = build_structure(net, "structured"), SmallDense()

    def measure(masks: Masks) -> float:
        return 1000 * structure.density(masks)

    target, draw = SynopsTarget(200.0, measure), torch.Generator()
    pruner.begin(net, PruneContext(structure, "structured", None, draw, synops=target))
    masks = pruner.masks(0.0)
    assert masks is not None
    assert abs(measure(masks) - SETTLING * 200) < 0.03 * SETTLING * 200
    assert pruner.masks(0.5) is None
