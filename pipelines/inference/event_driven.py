"""Event-driven inference of a finished network, one sample at a time.

The plans of `pipelines.networks.plans` compute batches; their time hardly depends on weights that
are zero. Here each spike adds the weights that lead from it and are not zero, so the time of one
sample falls with its SynOps.
"""

from __future__ import annotations

import math
from typing import cast

import snntorch as snn
import torch
from torch import Tensor, nn

from dpap.export.affine import affine
from pipelines.common.errors import InputError
from pipelines.kernels.cpu import event_layers
from pipelines.kernels.cpu.event_layers import EventStack, Map, Neurons, Pool, Weights
from pipelines.kernels.scan import NEURON
from pipelines.networks.network import Network
from pipelines.networks.stages import Stage
from pipelines.settings.network import READOUT


def refusal(network: Network) -> str | None:
    """Say in a sentence why a network cannot be computed by events, or return None."""
    spec = network.spec
    joined = [stage.name for stage in network.stages if stage.joined]
    if spec.neuron_model != NEURON:
        return f"event-driven inference computes leaky neurons, not those of '{spec.neuron_model}'."
    if joined:
        return f"event-driven inference has no shortcuts, and one begins or ends at '{joined[0]}'."
    if network.execution.precision != "float32":
        return f"event-driven inference has no {network.execution.precision}."
    if not event_layers.available(network.readout.weight.dtype):
        return "event-driven inference needs a C compiler and numbers of 32 or 64 bits; set CC."
    return None


class EventDriven:
    """A finished spiking network, computed by events on a CPU.

    It has the spikes of the network up to rounding, in another order of additions and with batch
    norm folded into the weights. It keeps the weights that the network has now. Calls share memory:
    an object belongs to one thread.

    Parameters
    ----------
    network
        The network after physical removal; masked weights are zeros. Silenced time steps are kept.

    Raises
    ------
    InputError
        If `refusal` has a reason.
    """

    @torch.no_grad()
    def __init__(self, network: Network) -> None:
        if why := refusal(network):
            raise InputError(why)
        layers = []
        shape = network.input_shape
        for stage in network.stages:
            weights = _weights(network, stage.weights, stage.norm, shape)
            neurons = _neurons(stage, network.gates.get(stage.name))
            layers.append((weights, neurons))
            shape = neurons.sent_shape(weights.output_shape)
        readout = _weights(network, network.readout, nn.Identity(), shape)
        self.names = (*(stage.name for stage in network.stages), READOUT)
        self._stack = EventStack(layers, readout, network.steps)

    def __call__(self, sample: Tensor) -> tuple[Tensor, dict[str, int]]:
        """Compute one sample.

        Parameters
        ----------
        sample
            [C, H, W], an image that is shown at each step; or [T, C, H, W], events.

        Returns
        -------
        tuple of Tensor and dict
            Class scores, [classes]; and layer -> additions that were made, its SynOps. The first
            layer of an image has none: it is one convolution, computed once.

        Raises
        ------
        ValueError
            If the sample has another shape or number format than the network.
        """
        scores, added = self._stack(sample)
        return scores, dict(zip(self.names, added, strict=True))


def _weights(
    network: Network, layer: nn.Conv2d | nn.Linear, norm: nn.Module, shape: Map
) -> Weights:
    """Describe the weights of a layer that reads maps of a shape."""
    weight, bias = (tensor.to(network.readout.weight.dtype) for tensor in affine(layer, norm))
    if isinstance(layer, nn.Linear):
        units, features = layer.weight.shape
        if features != math.prod(shape):
            raise ValueError(f"a linear layer of {features} inputs reads maps of {shape}")
        return Weights(weight.view(units, *shape), bias, shape, (units, 1, 1))
    stride, border = (cast(tuple[int, int], x)[0] for x in (layer.stride, layer.padding))
    height, width = ((n + 2 * border - layer.kernel_size[0]) // stride + 1 for n in shape[1:])
    return Weights(weight, bias, shape, (len(bias), height, width), stride, border)


def _neurons(stage: Stage, heard: Tensor | None) -> Neurons:
    neuron = cast(snn.Leaky, stage.neuron)
    pool = None
    if isinstance(stage.pool, nn.MaxPool2d | nn.AvgPool2d):
        border = stage.pool.padding
        assert isinstance(border, int)
        maximum = isinstance(stage.pool, nn.MaxPool2d)
        window, stride = map(_pair, (stage.pool.kernel_size, stage.pool.stride))
        pool = Pool(window, stride, border, maximum)
    decay, threshold = float(neuron.beta.clamp(0, 1)), float(neuron.threshold)
    return Neurons(decay, threshold, neuron.reset_mechanism == "subtract", pool, heard)


def _pair(size: int | tuple[int, ...]) -> tuple[int, int]:
    """Height and width of a setting of torch, where one number stands for both."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])
