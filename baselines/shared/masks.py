"""Masks: which entries of which parameters are kept, and how they are enforced."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn


@dataclass(frozen=True)
class Masks:
    """Kept entries of parameters, the kept units they came from, and kept time steps.

    Parameters
    ----------
    parameters
        Parameter name -> bool of its shape; a parameter without a mask is whole.
    units
        Unit group -> bool [units]; empty when single weights are pruned.
    steps
        Layer -> bool [units, T]: when its units may spike; a layer without one always may.
    """

    parameters: Mapping[str, Tensor] = field(default_factory=dict)
    units: Mapping[str, Tensor] = field(default_factory=dict)
    steps: Mapping[str, Tensor] = field(default_factory=dict)

    @torch.no_grad()
    def project(self, network: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Set every masked entry to zero, in the weights and in the optimizer's state.

        Momentum and Adam's moments bring a masked weight back in one step unless they are
        cleared too.

        Raises
        ------
        ValueError
            If a mask names no parameter of the network, or has another shape.
        """
        parameters = dict(network.named_parameters())
        for name, mask in self.parameters.items():
            if name not in parameters or parameters[name].shape != mask.shape:
                raise ValueError(f"mask '{name}' {tuple(mask.shape)} fits no parameter")
            parameter = parameters[name]
            kept = mask.to(parameter.device)
            parameter.mul_(kept)
            if optimizer is not None:
                for value in optimizer.state.get(parameter, {}).values():
                    if torch.is_tensor(value) and value.shape == mask.shape:
                        value.mul_(kept)

    def to(self, device: torch.device) -> Masks:
        """Return the same masks, those of parameters on a device: `project` then copies none."""
        parameters = {name: mask.to(device) for name, mask in self.parameters.items()}
        return replace(self, parameters=parameters)

    def kept(self, name: str, size: int) -> int:
        """Kept entries of a parameter of `size` entries."""
        return int(self.parameters[name].sum()) if name in self.parameters else size

    def shuffled(self, names: Iterable[str], generator: torch.Generator) -> Masks:
        """Return masks with the same density per named parameter and random positions."""
        shuffled = dict(self.parameters)
        for name in names:
            if name in shuffled:
                mask = shuffled[name].flatten()
                order = torch.randperm(mask.numel(), generator=generator)
                shuffled[name] = mask[order].view_as(shuffled[name])
        return Masks(parameters=shuffled)

    def save(self, path: Path) -> None:
        """Write to a safetensors file."""
        parts = {"parameters": self.parameters, "units": self.units, "steps": self.steps}
        save_file(
            {f"{room}/{k}": v.contiguous() for room, x in parts.items() for k, v in x.items()}, path
        )

    @classmethod
    def load(cls, path: Path) -> Masks:
        """Read what `save` wrote."""
        parts: dict[str, dict[str, Tensor]] = {"parameters": {}, "units": {}, "steps": {}}
        for key, value in load_file(path).items():
            room, name = key.split("/", 1)
            parts[room][name] = value
        return cls(**parts)
