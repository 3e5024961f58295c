"""Live shrink of a user's network: the proof that a smaller copy trains as the masked one does."""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor, nn

from dpap.attachment.copies import at_rest, copy_of
from dpap.attachment.proof import TOLERANCE
from dpap.attachment.surgery import cut_units
from dpap.attachment.units import Units
from pipelines.networks.network import Network

_STATISTICS = ("running_mean", "running_var")


def can_shrink(network: Network, units: Units, example: Tensor) -> bool:
    """Whether training may go on in a smaller network once units are dead.

    Live shrink moves parameters and statistics of batch norm along their first two dimensions, one
    output per unit. Networks whose units own other things train under masks. For the rest, one
    training step of a masked copy and of a smaller copy must agree in scores, gradients and
    statistics.

    Parameters
    ----------
    network
        The dense network; it does not change.
    units
        Its proven units.
    example
        A batch of the user's module.
    """
    if units.counted or any(x.transposed for x in units.structure.layers):
        return False
    if any(group.members for group in units.structure.groups):
        return False
    if not all(_movable(network, units, number) for number in range(len(units.cuts))):
        return False
    with contextlib.suppress(Exception):  # a network that cannot be trained so is not shrunk
        return any(_agrees(network, units, example, seed) for seed in range(2))
    return False


def _movable(network: Network, units: Units, number: int) -> bool:
    """Whether live shrink knows how to move what a group owns."""
    cut = units.cuts[number]
    owned = {(one.parameter, one.dim) for g in units.structure.groups for one in g.slices}
    name = cut.place[0]
    module = network.get_submodule(cut.module)
    if name in module._parameters:
        return cut.dim < 2 and (f"{cut.module}.{name}", cut.dim) in owned
    if name in _STATISTICS:
        return (f"{cut.module}.weight", 0) in owned
    return name not in module.state_dict()  # a state, which is at rest before each batch


def _agrees(network: Network, units: Units, example: Tensor, seed: int) -> bool:
    """Compare one training step of a masked and of a smaller copy, with a third of units dead."""
    draw = torch.Generator().manual_seed(seed)
    masked = copy_of(network).train()
    at_rest(masked)
    with torch.no_grad():
        for module in masked.modules():
            if isinstance(module, nn.modules.conv._ConvNd | nn.Linear):
                drawn = torch.randn(module.weight.shape, generator=draw)
                module.weight.copy_(2.5 * drawn / module.weight[0].numel() ** 0.5)
    kept = {}
    for group in units.structure.groups:
        kept[group.name] = torch.rand(group.size, generator=draw) < 2 / 3
        first, last = torch.randperm(group.size, generator=draw)[[0, -1]].tolist()
        kept[group.name][first], kept[group.name][last] = True, False
    units.structure.masks(kept).project(masked)
    small = copy_of(masked)
    cut_units(small, units.cuts, units.counted, kept)
    scores = []
    for one in (masked, small):
        torch.manual_seed(seed)
        output = one(example)
        factors = torch.linspace(-1, 1, output.numel()).view_as(output)
        (output * factors).sum().backward()
        scores.append(output.detach())
    cut_units(masked, units.cuts, units.counted, kept)
    pairs = [(scores[0], scores[1])]
    for dense, cut in zip(masked.parameters(), small.parameters(), strict=True):
        if (dense.grad is None) != (cut.grad is None):
            return False
        if dense.grad is not None and cut.grad is not None:
            pairs.append((dense.grad, cut.grad))
    after = small.state_dict()
    pairs += [(value, after[name]) for name, value in masked.state_dict().items()]
    return all(_close(one, two) for one, two in pairs)


def _close(one: Tensor, two: Tensor) -> bool:
    if one.shape != two.shape:
        return False
    scale = max(float(one.double().norm()), 1e-6)
    return float((one.double() - two.double()).norm()) <= TOLERANCE * scale
