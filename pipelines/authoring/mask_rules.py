"""Rules about masks: they fit the network, and keep parts of every group and of every class."""

from __future__ import annotations

import torch
from torch import Tensor

from baselines.shared.groups import Structure
from baselines.shared.masks import Masks
from pipelines.common.errors import BenchError
from pipelines.networks.network import Network
from pipelines.settings.network import READOUT


class ContractError(BenchError):
    """A method breaks a rule of the contract. The message says which rule, and what to do."""


def require_fit(masks: Masks, network: Network, structure: Structure) -> None:
    """Require that masks fit the network.

    Parameters
    ----------
    masks
        What the method returned.
    network
        The dense network.
    structure
        Its prunable layers and unit groups.

    Raises
    ------
    ContractError
        If a mask has the wrong type, shape or name, if the readout is pruned, or if no unit of a
        group or no input of a class is kept.
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
        # A pruned unit removes a whole column of the readout; all rows must be equal then.
        unpruned = kept == kept[:1] if structure.groups and kept.dim() > 1 else kept
        if name.startswith(f"{READOUT}.") and not bool(unpruned.all()):
            raise ContractError(
                f"'{name}' is pruned: only the readout's inputs from pruned units may be masked; "
                "prune the layers of self.layer_weights() only."
            )
        if name == f"{READOUT}.weight" and not bool(kept.any(1).all()):
            raise ContractError("a class has no input left: keep some units in each layer.")
    sizes = {group.name: (group.size,) for group in structure.groups}
    if masks.units.keys() not in (set(), set(sizes)) or (sizes and not masks.units):
        wanted = ", ".join(sizes) or "no group"
        found = ", ".join(masks.units) or "no group"
        raise ContractError(
            f"the field units of the masks has {found}; this granularity needs {wanted}: make "
            "masks by self.context.structure.masks()."
        )
    for name, kept in masks.units.items():
        _require_mask(f"unit mask of '{name}'", kept, sizes.get(name))
        if not bool(kept.any()):
            raise ContractError(
                f"no unit of '{name}' is kept: keep at least one unit in each group."
            )
    firing = [layer for layer in structure.layers if layer.drives is None]
    widths = {layer.name: (layer.shape[0], network.steps) for layer in firing}
    for name, kept in masks.steps.items():
        _require_mask(f"time-step mask of '{name}'", kept, widths.get(name))


def _require_mask(what: str, kept: Tensor, shape: tuple[int, ...] | None) -> None:
    """Require the name, the type and the shape of one mask; shape None: the name is unknown."""
    if shape is None:
        raise ContractError(f"the {what} has no counterpart in the network: use another name.")
    if kept.dtype != torch.bool:
        raise ContractError(f"the {what} is {kept.dtype}: use torch.bool, True where kept.")
    if tuple(kept.shape) != shape:
        raise ContractError(f"the {what} has shape {tuple(kept.shape)} instead of {shape}.")
