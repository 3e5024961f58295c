"""Cost of a network: density, parameters, operations, sparsity, energy proxy, latency.

One operation is one multiply-accumulate (MAC) or, if all inputs of the layer are spikes, one
accumulate (AC). Operations are counted per sample, over all time steps. Bias, pooling and batch
norm are not counted (batch norm folds into the weights before it).

*Dense* operations are those of hardware that skips nothing. *Effective* operations skip zero
weights and zero inputs. Effective ACs are also called SynOps: spikes x existing fan-out. They
depend on the activity of the network, which `ActivityCounter` counts over a split. docs/costs.md
defines each figure, and works out a small network by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.shared.groups import Structure
from baselines.shared.masks import Masks
from pipelines.networks.network import Network
from pipelines.networks.stages import has_neurons
from pipelines.records.outcome import PICOJOULE_AC, PICOJOULE_MAC, Cost, LayerCost
from pipelines.training.machine import clock


@dataclass
class ActivityCounter:
    """Counts the active inputs and outputs of all layers, over the batches of a split.

    Parameters
    ----------
    steps
        Time steps of a sample. A static input is counted once for each step.
    network
        Says which layers have neurons, and whether static inputs are repeated; None: as the
        network of any layout.

    Attributes
    ----------
    samples
        Number of samples.
    active
        Layer -> number of times that each input was not zero, of the shape of the input.
    binary
        Layer -> whether all its inputs were 0 or 1.
    rate_sums
        Layer with neurons -> sum over the samples of the mean firing rate.
    neurons
        Layer with neurons -> number of its neurons.
    fired
        Layer with neurons -> number of outputs that were not zero.
    calls
        Layer -> number of inputs of a sample, one for each time step.
    sent
        Layer with neurons -> number of outputs of each neuron for a sample.
    """

    steps: int
    network: Network | None = None
    samples: int = field(default=0, init=False)
    active: dict[str, Tensor] = field(default_factory=dict, init=False)
    binary: dict[str, bool] = field(default_factory=dict, init=False)
    rate_sums: dict[str, float] = field(default_factory=dict, init=False)
    neurons: dict[str, int] = field(default_factory=dict, init=False)
    fired: dict[str, int] = field(default_factory=dict, init=False)
    calls: dict[str, int] = field(default_factory=dict, init=False)
    sent: dict[str, int] = field(default_factory=dict, init=False)

    @torch.no_grad()
    def add(self, activity: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        """Add one batch.

        Parameters
        ----------
        activity
            Layer -> its input and output, each [T, B, ...]; a static input has T = 1.
        """
        fires = has_neurons if self.network is None else self.network.has_neurons
        repeats = self.network is None or self.network.repeats_static
        for name, (pre, post) in activity.items():
            repeat = self.steps // pre.shape[0] if repeats else 1  # static: shown at each step
            self.calls[name] = pre.shape[0] * repeat
            active, spikes_only = _active(pre)
            active *= repeat
            self.active[name] = self.active.get(name, torch.zeros_like(active)) + active
            self.binary[name] = self.binary.get(name, True) and spikes_only
            if fires(name):
                fired = int(torch.count_nonzero(post))
                self.sent[name] = post.shape[0]
                rate = fired / post.numel() * post.shape[1]
                self.rate_sums[name] = self.rate_sums.get(name, 0.0) + rate
                self.neurons[name] = post[0, 0].numel()
                self.fired[name] = self.fired.get(name, 0) + fired
        self.samples += pre.shape[1]

    def firing_rates(self) -> dict[str, float]:
        """Return layer with neurons -> mean firing rate of the neurons, in [0, 1] per step."""
        return {name: total / self.samples for name, total in self.rate_sums.items()}

    def activation_sparsity(self) -> float:
        """Return the fraction of zeros among the outputs of all neurons, steps and samples."""
        outputs = sum(n * self.sent[name] for name, n in self.neurons.items()) * self.samples
        return (outputs - sum(self.fired.values())) / outputs


def _active(x: Tensor) -> tuple[Tensor, bool]:
    """Count how often each input of [T, B, ...] is not zero; and say whether all are 0 or 1.

    Sums are quick if the last axis is the last one in memory, too: that of the channels.
    """
    ordered = x.movedim(2, -1).flatten(0, 1)
    nonzero = ordered != 0
    count = nonzero.sum(0, dtype=torch.int32).double()
    return count.movedim(-1, 0), torch.equal(ordered, nonzero.to(x.dtype))


def fan_out(layer: nn.Module, weight: Tensor, input_shape: torch.Size) -> Tensor:
    """Count the connections that leave each input of a layer.

    A weight that is not zero is counted at each position where the layer applies it, so stride,
    padding, dilation and groups have their effect.

    Parameters
    ----------
    layer
        A convolution or linear layer.
    weight
        Weights to count, of the shape of the layer's weight.
    input_shape
        Shape of one input at one step.

    Returns
    -------
    Tensor
        Fan-out of each input, of shape `input_shape`.
    """
    existing = (weight != 0).double()
    if isinstance(layer, nn.Linear):
        return existing.sum(0).expand(input_shape)
    # The gradient of a sum over all outputs adds up the weights that each input meets.
    inputs = torch.zeros(1, *input_shape, dtype=torch.float64, requires_grad=True)
    outputs = _convolved(layer, inputs, existing.cpu())
    (fan,) = torch.autograd.grad(outputs.sum(), inputs)
    return fan[0]


def _convolved(layer: nn.Module, inputs: Tensor, weight: Tensor) -> Tensor:
    """Apply a convolution of any kind with other weights, and with zeros around the input."""
    assert isinstance(layer, nn.modules.conv._ConvNd)
    dims = len(layer.kernel_size)
    if layer.transposed:
        transposed = getattr(functional, f"conv_transpose{dims}d")
        result: Tensor = transposed(
            inputs,
            weight,
            None,
            layer.stride,
            layer.padding,
            layer.output_padding,
            layer.groups,
            layer.dilation,
        )
        return result
    convolve = getattr(functional, f"conv{dims}d")
    convolved: Tensor = convolve(
        inputs, weight, None, layer.stride, layer.padding, layer.dilation, layer.groups
    )
    return convolved


def operations(network: Network, counter: ActivityCounter) -> dict[str, tuple[int, float, float]]:
    """Count the operations of one sample.

    Returns
    -------
    dict
        Layer -> (dense operations, mean effective MACs, mean effective ACs).
    """
    counts = {}
    for name, active in counter.active.items():
        layer = network.layer(name)
        weight = layer.weight
        assert isinstance(weight, Tensor)
        dense = fan_out(layer, torch.ones_like(weight), active.shape).sum() * counter.calls[name]
        effective = fan_out(layer, weight.detach(), active.shape).cpu() * active.cpu()
        per_sample = float(effective.sum()) / counter.samples
        macs, acs = (0.0, per_sample) if counter.binary[name] else (per_sample, 0.0)
        counts[name] = (round(float(dense)), macs, acs)
    return counts


@torch.no_grad()
def latency(network: nn.Module, inputs: Tensor, batch_sizes: tuple[int, ...]) -> dict[int, float]:
    """Measure the forward time of a network in evaluation mode.

    Parameters
    ----------
    network
        The network; its mode is restored.
    inputs
        Samples [B, C, H, W] or [T, B, C, H, W]; repeated if a batch needs more.
    batch_sizes
        Numbers of samples of the batches.

    Returns
    -------
    dict
        Batch size -> median time of ten forward passes, after two passes of warm-up, in ms.
    """
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
        result[size] = round(median(times[2:]) * 1000, 4)  # the first two are warm-up
    network.train(training)
    return result


def layer_densities(structure: Structure, masks: Masks) -> dict[str, float]:
    """Return prunable layer -> kept / prunable weights."""
    return {
        layer.name: masks.kept(layer.weight, layer.size) / layer.size for layer in structure.layers
    }


def existing_parameters(network: nn.Module, structure: Structure, masks: Masks) -> int:
    """Count the parameters of the network, without weights that a mask keeps at zero."""
    total = sum(p.numel() for p in network.parameters())
    weights = dict(network.named_parameters())
    for layer in structure.layers:
        total -= weights[layer.weight].numel() - masks.kept(layer.weight, layer.size)
    return total


def timestep_sparsity(network: Network) -> float:
    """Return the fraction of silenced (unit, time step) pairs of a network."""
    if not network.gates:
        return 0.0
    units = sum(stage.weights.weight.shape[0] for stage in network.stages)
    silenced = sum(int((~gate).sum()) for gate in network.gates.values())
    return silenced / (units * network.steps)


def connection_sparsity(network: nn.Module) -> float:
    """Return the fraction of zeros among the weights of all layers, the readout included."""
    kinds = (nn.modules.conv._ConvNd, nn.Linear)
    weights = [m.weight for m in network.modules() if isinstance(m, kinds)]
    zeros = sum(int((weight == 0).sum()) for weight in weights)
    return zeros / sum(weight.numel() for weight in weights)


def membrane_updates(network: Network, counter: ActivityCounter) -> dict[str, int]:
    """Return layer -> updates of membrane potentials, one per neuron and step; a ReLU has none.

    Updates of silenced neurons are counted, because these neurons still integrate their input.
    """
    return {
        name: counter.neurons.get(name, 0) * counter.sent.get(name, 0) * network.updates(name)
        for name in counter.active
    }


def measure(
    network: Network,
    structure: Structure,
    masks: Masks,
    counter: ActivityCounter,
    compact_latency: dict[int, float],
    masked_latency: dict[int, float],
) -> Cost:
    """Measure the cost of a finished network.

    Parameters
    ----------
    network
        The network after physical removal.
    structure
        Structure of the network before physical removal.
    masks
        The last masks, of the network before physical removal.
    counter
        Activity of `network` on the test split; of a tuning trial, on the validation split.
    compact_latency, masked_latency
        Latencies after and before physical removal, as `latency` returns them, in ms.
    """
    counts = operations(network, counter)
    whole = dict.fromkeys(counts, 1.0)  # the readout, and layers that are not pruned
    densities = whole | layer_densities(structure, masks)
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
