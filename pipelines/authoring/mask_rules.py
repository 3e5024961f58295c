"""Masks must fit the network, and leave every layer and every class something."""

from __future__ import annotations

import torch
from torch import Tensor

from baselines.shared.groups import Structure
from baselines.shared.masks import Masks
from pipelines.common.errors import BenchError
from pipelines.networks.network import Network
from pipelines.settings.network import READOUT


class ContractError(BenchError):
    """A method breaks a rule of the contract; the sentence says which, and what to do."""


def require_fit(masks: Masks, network: Network, structure: Structure) -> None:
    """Raise unless masks fit the network and leave every layer and every class something.

    Raises
    ------
    ContractError
        If they do not.
    """
    if not isinstance(masks, Masks):
        raise ContractError(
            f"masks() returns {type(masks).__name__}: return None, or Masks of "
            "baselines.shared.masks, made by select() or by self.context.structure.masks()."
        )
    shapes = {name: tuple(p.shape) for name, p in network.named_parameters()}
    for name, kept in masks.parameters.items():
        _require_mask(f"mask of '{name}'", kept, shapes.get(name))
    for name, kept in masks.parameters.items():
        whole = kept == kept[:1] if structure.groups and kept.dim() > 1 else kept
        if name.startswith(f"{READOUT}.") and not bool(whole.all()):
            raise ContractError(
                f"'{name}' is pruned: the readout stays whole but for the inputs from units that "
                "are gone; prune the layers of self.layer_weights() only."
            )
        if name == f"{READOUT}.weight" and not bool(kept.any(1).all()):
            raise ContractError("a class has no input left: leave each layer some units.")
    sizes = {group.name: (group.size,) for group in structure.groups}
    if masks.units.keys() not in (set(), set(sizes)) or (sizes and not masks.units):
        wanted = f"the groups {', '.join(sizes)}" if sizes else "no group"
        raise ContractError(
            f"units of the masks name {', '.join(masks.units) or 'nothing'}, where this "
            f"granularity has {wanted}: make masks by self.context.structure.masks()."
        )
    for name, kept in masks.units.items():
        _require_mask(f"units of '{name}'", kept, sizes.get(name))
        if not bool(kept.any()):
            raise ContractError(f"no unit of '{name}' is left: keep at least one in each group.")
    firing = [layer for layer in structure.layers if layer.drives is None]
    widths = {layer.name: (layer.shape[0], network.steps) for layer in firing}
    for name, kept in masks.steps.items():
        _require_mask(f"steps of '{name}'", kept, widths.get(name))


def _require_mask(what: str, kept: Tensor, shape: tuple[int, ...] | None) -> None:
    if shape is None:
        raise ContractError(f"{what}: the network has nothing of this name to prune.")
    if kept.dtype != torch.bool:
        raise ContractError(f"{what} is {kept.dtype}: masks are torch.bool, True where kept.")
    if tuple(kept.shape) != shape:
        raise ContractError(f"{what} has shape {tuple(kept.shape)} instead of {shape}.")
