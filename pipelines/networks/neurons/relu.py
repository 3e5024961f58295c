"""Rectified linear units, the neurons of every network of ``kind: ann``."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from pipelines.networks.neurons import Neuron, State


class Relu(Neuron):
    """There is no state, and one time step."""

    def build(self) -> nn.Module:
        """Build the units of one layer."""
        return nn.ReLU()

    def step(self, module: nn.Module, current: Tensor, state: State) -> tuple[Tensor, State]:
        """Apply ReLU."""
        return cast(Tensor, module(current)), state

    def scan(self, module: nn.Module, current: Tensor, *, overwrite: bool = False) -> Tensor:
        """Apply ReLU to all inputs at once."""
        del overwrite
        return cast(Tensor, module(current))
