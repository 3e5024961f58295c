"""Neuron models: one file each, whose name is the model's name in params.yaml.

A file defines one subclass of `Neuron`: how to build the module of a layer, and how to advance it
by one time step. That is enough for the plans ``step`` and ``folded``; see docs/networks.md.
"""

from __future__ import annotations

import importlib
import inspect
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from pipelines.settings.network import NetworkSpec

#: State of a layer's neurons; empty before the first time step. The last is the membrane potential.
State = tuple[Tensor, ...]


class Neuron(ABC):
    """A neuron model with the settings of one network.

    The state is passed in and out; a module keeps nothing from one call to the next. Its parameters
    are scalars, shared by the units of a layer, so that removing units leaves them as they are.

    Parameters
    ----------
    spec
        Of the network.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        self.spec = spec

    @abstractmethod
    def build(self) -> nn.Module:
        """Build the neurons of one layer."""

    @abstractmethod
    def step(self, module: nn.Module, current: Tensor, state: State) -> tuple[Tensor, State]:
        """Advance one layer by one time step.

        Parameters
        ----------
        module
            Made by `build`.
        current
            Input current, [B, ...].
        state
            After the time step before.

        Returns
        -------
        tuple of Tensor and State
            Output, [B, ...], and the state after this time step.
        """

    def by_steps(self, module: nn.Module, current: Tensor) -> Tensor:
        """Compute one time step after another; the result can be differentiated twice.

        Parameters
        ----------
        module
            Made by `build`.
        current
            Input current, [T, B, ...], or [1, B, ...] if it is the same at every time step. The
            state is float32 at least.

        Returns
        -------
        Tensor
            Outputs, [T, B, ...], in the number format of `current`.
        """
        wide = current.to(torch.promote_types(current.dtype, torch.float32))
        state: State = ()
        outputs = []
        for t in range(self.spec.steps):
            output, state = self.step(module, wide[t if len(wide) > 1 else 0], state)
            outputs.append(output)
        return torch.stack(outputs).to(current.dtype)

    def scan(self, module: nn.Module, current: Tensor, *, overwrite: bool = False) -> Tensor:
        """Compute all time steps as `by_steps` does; a model with a faster way overrides this.

        Parameters
        ----------
        module, current
            As for `by_steps`.
        overwrite
            Whether the memory of `current` may be used.
        """
        del overwrite
        return self.by_steps(module, current)


def make_neuron_model(spec: NetworkSpec) -> Neuron:
    """Load the neuron model of a network from its file."""
    file = importlib.import_module(f"{__name__}.{spec.neuron_model}")
    (kind,) = (
        found
        for found in vars(file).values()
        if inspect.isclass(found)
        and issubclass(found, Neuron)
        and found.__module__ == file.__name__
    )
    model: Neuron = kind(spec)
    return model
