"""Integrate-and-fire neurons with a synaptic current, `snntorch.Synaptic`.

The input jumps into the synaptic current, which decays by alpha per time step and drives the
membrane potential, which decays by beta.
"""

from __future__ import annotations

import snntorch as snn
import torch
from torch import Tensor, nn

from pipelines.kernels.scan import spike_gradient
from pipelines.networks.neurons import Neuron, State

#: Decay of the synaptic current per time step, in [0, 1], at the start; `learn_beta` learns it too.
ALPHA = 0.8


class Synaptic(Neuron):
    """The state is the synaptic current and the membrane potential."""

    def build(self) -> snn.Synaptic:
        """Build the neurons of one layer; `alpha` and `beta` are parameters if they are learned."""
        spec = self.spec
        return snn.Synaptic(
            alpha=ALPHA,
            beta=spec.beta,
            learn_alpha=spec.learn_beta,
            learn_beta=spec.learn_beta,
            threshold=spec.threshold,
            reset_mechanism=spec.reset,
            spike_grad=spike_gradient(spec.surrogate),
        )

    def step(self, module: nn.Module, current: Tensor, state: State) -> tuple[Tensor, State]:
        """Advance one layer by one time step, by snnTorch."""
        synapses, membrane = state or (torch.zeros_like(current), torch.zeros_like(current))
        spikes, synapses, membrane = module(current, synapses, membrane)
        module.syn = module.mem = torch.zeros(0)  # the module must not keep the graph alive
        return spikes, (synapses, membrane)
