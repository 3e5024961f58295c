"""Masks: which entries of which parameters are kept, and their enforcement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Masks:
    """Boolean masks; True where an entry is kept.

    Parameters
    ----------
    parameters
        Parameter name -> bool of the parameter's shape. A parameter without a mask is dense.
    units
        Unit group -> kept units, bool [units]; empty when only single weights are pruned. They
        are already part of the masks in `parameters`.
    steps
        Layer name -> time steps at which each unit may spike, bool [units, T]. A layer without an
        entry may spike at every step.
    """

    parameters: Mapping[str, Tensor] = field(default_factory=dict)
    units: Mapping[str, Tensor] = field(default_factory=dict)
    steps: Mapping[str, Tensor] = field(default_factory=dict)

    def require_boolean(self) -> None:
        """Require that all masks say kept or not, and nothing between.

        Raises
        ------
        TypeError
            If a mask is no tensor of bool; it would scale weights instead of keeping them.
        """
        for masks in (self.parameters, self.units, self.steps):
            for name, mask in masks.items():
                if mask.dtype != torch.bool:
                    raise TypeError(f"mask '{name}' is {mask.dtype}; a mask is torch.bool")

    @torch.no_grad()
    def project(self, network: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Set masked entries to zero, in the parameters and in the optimizer state.

        The optimizer state must be cleared too: momentum, or Adam's moments, would move a masked
        weight away from zero in the next step.

        Parameters
        ----------
        network
            The network that the masks belong to.
        optimizer
            Optimizer of the network's parameters, if there is one.

        Raises
        ------
        ValueError
            If a mask names no parameter of the network, or has another shape.
        """
        parameters = dict(network.named_parameters())
        for name, mask in self.parameters.items():
            if name not in parameters or parameters[name].shape != mask.shape:
                raise ValueError(
                    f"mask '{name}' of shape {tuple(mask.shape)} fits no parameter of the network"
                )
            parameter = parameters[name]
            kept = mask.to(parameter.device)
            parameter.mul_(kept)
            if optimizer is not None:
                for value in optimizer.state.get(parameter, {}).values():
                    if torch.is_tensor(value) and value.shape == mask.shape:
                        value.mul_(kept)

    def to(self, device: torch.device) -> Masks:
        """Move parameter masks to a device, so that `project` copies nothing between devices."""
        parameters = {name: mask.to(device) for name, mask in self.parameters.items()}
        return replace(self, parameters=parameters)

    def kept(self, name: str, size: int) -> int:
        """Return how many entries of parameter `name`, which has `size` entries, are kept."""
        return int(self.parameters[name].sum()) if name in self.parameters else size
