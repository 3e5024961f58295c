"""Leaky integrate-and-fire neurons, `snntorch.Leaky`."""

from __future__ import annotations

import snntorch as snn
import torch
from torch import Tensor, nn

from pipelines.kernels.scan import lif_scan, make_neuron
from pipelines.networks.neurons import Neuron, State


class Leaky(Neuron):
    """The state is the membrane potential."""

    def build(self) -> snn.Leaky:
        """Build the neurons of one layer; `beta` is a parameter if it is learned."""
        spec = self.spec
        return make_neuron(spec.beta, spec.learn_beta, spec.threshold, spec.reset, spec.surrogate)

    def step(self, module: nn.Module, current: Tensor, state: State) -> tuple[Tensor, State]:
        """Advance one layer by one time step, by snnTorch."""
        (membrane,) = state or (torch.zeros_like(current),)
        spikes, membrane = module(current, membrane)
        module.mem = torch.zeros(0)  # the module must not keep the graph alive
        return spikes, (membrane,)

    def scan(self, module: nn.Module, current: Tensor, *, overwrite: bool = False) -> Tensor:
        """Compute all time steps in one autograd function."""
        spec = self.spec
        return lif_scan(current, module, spec.steps, spec.surrogate, overwrite=overwrite)
