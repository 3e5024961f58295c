"""What a network costs: density, parameters, operations, sparsity, energy proxy, latency.

One operation is one multiply-accumulate (MAC) or, where the input is a spike, one accumulate
(AC). Both are counted per sample over all time steps. Bias, pooling and batch norm are left out
(batch norm folds into the weights before it).

*Dense* counts are what hardware does that skips nothing. *Effective* counts skip zero weights
and zero inputs; the effective ACs are the SynOps: spikes times existing fan-out. Every figure is
defined in docs/costs.md, where a tiny network is worked out by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.shared.groups import PrunableLayer, Structure
from baselines.shared.masks import Masks
from pipelines.networks.network import Network
from pipelines.networks.stages import has_neurons
from pipelines.records.outcome import PICOJOULE_AC, PICOJOULE_MAC, Cost, LayerCost
from pipelines.settings.network import READOUT
from pipelines.training.machine import clock


@dataclass
class ActivityCounter:
    """Adds up which inputs of which layers are active, over batches of a split.

    Parameters
    ----------
    steps
        Time steps of a sample; a static input counts once per step.
    """

    steps: int
    samples: int = field(default=0, init=False)
    active: dict[str, Tensor] = field(default_factory=dict, init=False)
    binary: dict[str, bool] = field(default_factory=dict, init=False)
    spikes: dict[str, float] = field(default_factory=dict, init=False)
    neurons: dict[str, int] = field(default_factory=dict, init=False)
    fired: dict[str, int] = field(default_factory=dict, init=False)

    @torch.no_grad()
    def add(self, activity: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        """Take one batch: layer -> (input, output), [T, B, ...]."""
        for name, (pre, post) in activity.items():
            repeat = self.steps // pre.shape[0]
            active = (pre != 0).sum((0, 1), dtype=torch.float64) * repeat
            self.active[name] = self.active.get(name, torch.zeros_like(active)) + active
            spikes_only = bool(((pre == 0) | (pre == 1)).all())
            self.binary[name] = self.binary.get(name, True) and spikes_only
            if has_neurons(name):
                fired = post != 0
                rate = float(fired.double().mean()) * post.shape[1]
                self.spikes[name] = self.spikes.get(name, 0.0) + rate
                self.neurons[name] = post[0, 0].numel()
                self.fired[name] = self.fired.get(name, 0) + int(fired.sum())
        self.samples += pre.shape[1]

    def firing_rates(self) -> dict[str, float]:
        """Mean activity of each layer's neurons, in [0, 1] per step, where it has any."""
        return {name: total / self.samples for name, total in self.spikes.items()}

    def activation_sparsity(self) -> float:
        """Share of zeros among the outputs of all neurons, steps and samples, in [0, 1]."""
        outputs = sum(self.neurons.values()) * self.steps * self.samples
        return (outputs - sum(self.fired.values())) / outputs


def fan_out(layer: nn.Module, weight: Tensor, input_shape: torch.Size) -> Tensor:
    """Connections that leave each input position of a layer, of shape `input_shape`.

    Counts the weights that are not zero, at every position where they are applied: stride,
    padding, dilation and groups are seen.
    """
    existing = (weight != 0).double()
    if isinstance(layer, nn.Linear):
        return existing.sum(0)
    assert isinstance(layer, nn.Conv2d)
    probe = torch.zeros(1, *input_shape, dtype=torch.float64, requires_grad=True)
    outputs = functional.conv2d(
        probe, existing.cpu(), None, layer.stride, layer.padding, layer.dilation, layer.groups
    )
    (fan,) = torch.autograd.grad(outputs.sum(), probe)
    return fan[0]


def operations(network: Network, counter: ActivityCounter) -> dict[str, tuple[int, float, float]]:
    """Count per layer: (dense operations, effective MACs, effective ACs) of one sample."""
    modules = dict(network.named_modules())
    counts = {}
    for name, active in counter.active.items():
        layer = modules[name]
        weight = layer.weight
        assert isinstance(weight, Tensor)
        dense = fan_out(layer, torch.ones_like(weight), active.shape).sum() * counter.steps
        effective = fan_out(layer, weight.detach(), active.shape).cpu() * active.cpu()
        each = float(effective.sum()) / counter.samples
        macs, acs = (0.0, each) if counter.binary[name] else (each, 0.0)
        counts[name] = (round(float(dense)), macs, acs)
    return counts


@torch.no_grad()
def latency(network: nn.Module, inputs: Tensor, batch_sizes: tuple[int, ...]) -> dict[int, float]:
    """Median forward time in milliseconds by batch size."""
    training = network.training
    network.eval()
    result = {}
    for size in batch_sizes:
        samples = torch.arange(size, device=inputs.device) % inputs.shape[-4]
        batch = inputs.index_select(inputs.dim() - 4, samples)
        times = []
        for _ in range(12):
            start = clock(inputs.device)
            network(batch)
            times.append(clock(inputs.device) - start)
        result[size] = round(median(times[2:]) * 1000, 4)
    network.train(training)
    return result


def layer_densities(structure: Structure, masks: Masks) -> dict[str, float]:
    """Kept / prunable weights of every prunable layer."""

    def density(layer: PrunableLayer) -> float:
        return masks.kept(layer.weight, layer.size) / layer.size

    return {layer.name: density(layer) for layer in structure.layers}


def existing_parameters(network: nn.Module, structure: Structure, masks: Masks) -> int:
    """Parameters of the compacted network, less those that a mask keeps at zero."""
    total = sum(p.numel() for p in network.parameters())
    weights = dict(network.named_parameters())
    for layer in structure.layers:
        total -= weights[layer.weight].numel() - masks.kept(layer.weight, layer.size)
    return total


def timestep_sparsity(network: Network) -> float:
    """Silenced share of the (unit, time step) pairs of a network."""
    units = sum(stage.weights.weight.shape[0] for stage in network.stages)
    silenced = sum(int((~gate).sum()) for gate in network.gates.values())
    return silenced / (units * network.steps)


def connection_sparsity(network: nn.Module) -> float:
    """Zero share of the weights of all convolutions and linear layers, the readout's included."""
    weights = [m.weight for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    zeros = sum(int((weight == 0).sum()) for weight in weights)
    return zeros / sum(weight.numel() for weight in weights)


def membrane_updates(network: Network, counter: ActivityCounter) -> dict[str, int]:
    """Updates of membrane potentials, one per neuron and step, by layer; a ReLU has none.

    A silenced unit integrates as if it fired, so its updates count.
    """
    steps = counter.steps if network.spec.kind == "snn" else 0
    return {name: counter.neurons.get(name, 0) * steps for name in counter.active}


def measure(
    network: Network,
    structure: Structure,
    masks: Masks,
    counter: ActivityCounter,
    compact_latency: dict[int, float],
    masked_latency: dict[int, float],
) -> Cost:
    """Put the cost of a compacted network together.

    Parameters
    ----------
    network
        After physical removal.
    structure, masks
        Of the network before it.
    counter
        Activity of the compacted network on the test split.
    compact_latency, masked_latency
        What `latency` measured after and before removal.
    """
    counts = operations(network, counter)
    densities = layer_densities(structure, masks) | {READOUT: 1.0}
    rates = counter.firing_rates()
    updates = membrane_updates(network, counter)
    macs = sum(effective for _, effective, _ in counts.values())
    acs = sum(effective for _, _, effective in counts.values())
    return Cost(
        density=structure.density(masks),
        prunable=structure.prunable,
        parameters=existing_parameters(network, structure, masks),
        macs=sum(dense for dense, _, _ in counts.values()),
        effective_macs=macs,
        synops=acs,
        membrane_updates=sum(updates.values()),
        activation_sparsity=counter.activation_sparsity(),
        connection_sparsity=connection_sparsity(network),
        timestep_sparsity=timestep_sparsity(network),
        energy_nanojoule=(PICOJOULE_MAC * macs + PICOJOULE_AC * acs) / 1000,
        latency_milliseconds=compact_latency,
        masked_latency_milliseconds=masked_latency,
        layers={
            name: LayerCost(
                density=densities[name],
                dense_operations=dense,
                effective_macs=effective_macs,
                effective_acs=effective_acs,
                membrane_updates=updates[name],
                firing_rate=rates.get(name),
            )
            for name, (dense, effective_macs, effective_acs) in counts.items()
        },
    )
