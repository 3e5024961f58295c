"""A finished spiking network as a graph of the Neuromorphic Intermediate Representation, NIR.

NIR (Pedersen et al., Nature Communications 2024, arXiv 2311.14641) describes neurons by
differential equations. Here they mean one Euler step of `DT` seconds per time step, as they do for
snnTorch:

- ``LIF`` with tau = DT / (1 - beta), R = 1 / (1 - beta), v_leak = v_reset = 0 becomes
  v <- beta * v + I; spike if v > threshold; v <- 0 where it spiked. `snntorch.Leaky` with the reset
  ``zero`` forgets its potential one step later, before it decays, which gives the same spikes.
- ``IF`` with R = 1 / DT is the neuron whose beta is 1.
- The largest of spikes is 1 if their sum is above 0.5: ``SumPool2d``, then ``Threshold``.
- Inputs of a node are added up, so an identity shortcut is no node: all that drives the neurons
  before a residual block drives those at its end as well.

Batch norm is folded into the weights before it. The graph gives one vector per time step; the class
scores are their mean.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import snntorch as snn
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipelines.common.files import atomic_file
from pipelines.networks.network import Network
from pipelines.networks.stages import Shortcut
from pipelines.settings.network import READOUT

try:
    import nir
except ModuleNotFoundError:  # an optional extra
    nir = None

#: Seconds per time step; snnTorch's own for NIR.
DT = 1e-4

Array = NDArray[Any]
Shape = tuple[int, ...]
_INPUT = "[C, H, W] per time step; a sample without time is shown at each of time_steps."
_SCORES = "mean of the output over time_steps."


def refusal(network: Network) -> str | None:
    """Say in a sentence why there can be no graph of a network, or return None."""
    spec = network.spec
    if spec.neuron_model != "leaky":
        missing = f"the export to NIR has no neuron model '{spec.neuron}'"
        missing = "NIR has no ReLU" if spec.kind == "ann" else missing
        return f"{missing}, which layer '{network.stages[0].name}' needs."
    if spec.reset == "subtract":
        return (
            f"NIR resets neurons to a value; those of layer '{network.stages[0].name}' lose their "
            "threshold (reset: subtract)."
        )
    for stage in network.stages:
        if stage.carries == "current" and isinstance(stage.pool, nn.MaxPool2d):
            return (
                "NIR has no maximum of currents, which the shortcut behind layer "
                f"'{stage.name}' carries."
            )
    silenced = [name for name, kept in network.gates.items() if not kept.all()]
    if silenced:
        return f"NIR has no silenced time steps; layer '{silenced[0]}' has some."
    if nir is None:
        return (
            "the package nir is not installed; run: "
            "pip install -c constraints.txt -e '.[export]', then export again."
        )
    return None


def write_graph(path: Path, network: Network, origin: Mapping[str, str]) -> None:
    """Write the graph of a network that `refusal` has nothing against.

    Parameters
    ----------
    path
        The file, HDF5.
    network
        After physical removal.
    origin
        Where it comes from; kept as metadata of the graph, beside `DT` and the time steps.

    Raises
    ------
    BenchError
        If the disk does not take it.
    """
    buffer = io.BytesIO()
    nir.write(buffer, to_graph(network, origin))
    with atomic_file(path) as file:
        file.write(buffer.getvalue())


@torch.no_grad()
def to_graph(network: Network, origin: Mapping[str, str]) -> Any:
    """Build the ``nir.NIRGraph`` of a network; see `write_graph`."""
    graph = _Graph()
    signal = carried = graph.add("input", nir.Input(np.array(network.input_shape)))
    for stage in network.stages:
        signal = graph.flat(signal) if isinstance(stage.weights, nn.Linear) else signal
        current = graph.weights(stage.name, stage.weights, stage.norm, signal)
        if stage.shortcut:
            added = graph.shortcut(stage.shortcut, carried)
            current = Signal(current.nodes + added.nodes, current.shape)
        neurons = _neurons(cast(snn.Leaky, stage.neuron), current.shape)
        spikes = graph.add(f"{stage.name}_neuron", neurons, current)
        signal = graph.pool(f"{stage.name}_pool", stage.pool, spikes)
        if stage.carries == "output":
            carried = signal
        elif stage.carries == "current":
            carried = graph.pool(f"{stage.name}_current_pool", stage.pool, current)
    readout = nir.Affine(weight=_array(network.readout.weight), bias=_array(network.readout.bias))
    scores = graph.add(READOUT, readout, graph.flat(signal))
    graph.add("output", nir.Output(np.array([network.classes])), scores)
    metadata = {"dt": DT, "time_steps": network.steps, "input": _INPUT, "scores": _SCORES}
    return nir.NIRGraph(graph.nodes, graph.edges, {**origin, **metadata})


class Signal(NamedTuple):
    """The sum of what some nodes give, and its shape at one time step."""

    nodes: tuple[str, ...]
    shape: Shape


class _Graph:
    """Nodes and edges, as far as they are built."""

    def __init__(self) -> None:
        self.nodes: dict[str, Any] = {}
        self.edges: list[tuple[str, str]] = []

    def add(
        self, name: str, node: Any, source: Signal | None = None, shape: Shape | None = None
    ) -> Signal:
        """Add a node that reads a signal; its shape is needed where the node does not know it."""
        self.nodes[name] = node
        self.edges += [(before, name) for before in source.nodes] if source else []
        return Signal((name,), shape or tuple(int(n) for n in node.output_type["output"]))

    def flat(self, signal: Signal) -> Signal:
        """Flatten maps, if there are any."""
        if len(signal.shape) == 1:
            return signal
        node = nir.Flatten(np.array(signal.shape), start_dim=0, end_dim=-1)
        return self.add("flatten", node, signal, (math.prod(signal.shape),))

    def weights(
        self, name: str, weights: nn.Conv2d | nn.Linear, norm: nn.Module, source: Signal
    ) -> Signal:
        """Weights with the batch norm after them."""
        node = _affine(weights, cast(nn.BatchNorm2d, norm), source.shape)
        return self.add(name, node, source)

    def shortcut(self, shortcut: Shortcut, carried: Signal) -> Signal:
        """What a shortcut adds to a current; the identity needs no node."""
        if shortcut.weights is None or shortcut.norm is None:
            return carried
        return self.weights(shortcut.name, shortcut.weights, shortcut.norm, carried)

    def pool(self, name: str, pool: nn.Module, source: Signal) -> Signal:
        """Average pooling as it is, max pooling of spikes as a sum and a threshold."""
        if not isinstance(pool, nn.MaxPool2d | nn.AvgPool2d):
            return source
        kernel, stride, padding = (
            np.array([n, n] if isinstance(n, int) else n)
            for n in (pool.kernel_size, pool.stride, pool.padding)
        )
        places = (np.array(source.shape[1:]) + 2 * padding - kernel) // stride + 1
        kind = nir.AvgPool2d if isinstance(pool, nn.AvgPool2d) else nir.SumPool2d
        node, shape = kind(kernel, stride, padding), (source.shape[0], *map(int, places))
        pooled = self.add(name, node, source, shape)
        if kind is nir.AvgPool2d:
            return pooled
        return self.add(f"{name}_any", nir.Threshold(np.full(shape, 0.5)), pooled)


def _array(tensor: Tensor) -> Array:
    return tensor.detach().cpu().contiguous().float().numpy().copy()


def _affine(weights: nn.Conv2d | nn.Linear, norm: nn.BatchNorm2d, shape: Shape) -> Any:
    """Weights and batch norm as one node, folded in double precision."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    gain = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    bias = norm.bias.double() - norm.running_mean.double() * gain
    weight = weights.weight.double() * gain.view(-1, *[1] * (weights.weight.dim() - 1))
    if isinstance(weights, nn.Linear):
        return nir.Affine(weight=_array(weight), bias=_array(bias))
    return nir.Conv2d(
        input_shape=shape[1:],
        weight=_array(weight),
        stride=weights.stride,
        padding=weights.padding,
        dilation=weights.dilation,
        groups=weights.groups,
        bias=_array(bias),
    )


def _neurons(neuron: snn.Leaky, shape: Shape) -> Any:
    """Neurons of a layer, one entry each; in double precision, so that beta comes back exactly."""
    beta = float(neuron.beta.clamp(0, 1))
    threshold, zeros = np.full(shape, float(neuron.threshold)), np.zeros(shape)
    if beta == 1:
        return nir.IF(r=np.full(shape, 1 / DT), v_threshold=threshold, v_reset=zeros)
    return nir.LIF(
        tau=np.full(shape, DT / (1 - beta)),
        r=np.full(shape, 1 / (1 - beta)),
        v_leak=zeros,
        v_threshold=threshold,
        v_reset=zeros,
    )
