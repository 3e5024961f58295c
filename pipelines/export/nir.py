"""Export of a finished spiking network to the Neuromorphic Intermediate Representation, NIR.

NIR (Pedersen et al., Nature Communications 2024, arXiv 2311.14641) describes neurons by
differential equations. In these graphs, as in snnTorch, one time step is one Euler step of `DT`
seconds:

- Leaky neurons are ``LIF`` nodes with tau = DT / (1 - beta), R = 1 / (1 - beta),
  v_leak = v_reset = 0. An Euler step is v <- beta * v + I; spike if v > threshold; v <- 0 where a
  neuron spiked. `snntorch.Leaky` with the reset ``zero`` resets its potential one step later,
  before the decay, which gives the same spikes.
- Neurons with beta = 1 are ``IF`` nodes with R = 1 / DT.
- Max pooling of spikes is ``SumPool2d`` followed by ``Threshold``: the maximum is 1 if the sum is
  above 0.5.
- NIR adds up all inputs of a node, so an identity shortcut needs no node: the nodes that drive the
  neurons before a residual block are also connected to the neurons at its end.

Batch norm is folded into the weights before it. The graph gives one vector per time step; the class
scores are the mean of these vectors.
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
from torch import nn

from dpap.export.affine import affine
from dpap.export.nodes import (
    DT,
    Shape,
    array,
    leaky,
    nir,
    pair,
    pooled_shape,
    weights_node,
)
from pipelines.common.files import atomic_file
from pipelines.networks.network import Network
from pipelines.networks.stages import Shortcut
from pipelines.settings.network import READOUT

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
                "NIR has no maximum of currents, which the shortcut after layer "
                f"'{stage.name}' needs."
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
    """Write the NIR graph of a network for which `refusal` returns None.

    Parameters
    ----------
    path
        The HDF5 file.
    network
        The network after physical removal.
    origin
        Where the network comes from (run id, code digest, label). It is added to the metadata of
        the graph, which also holds `DT` and the number of time steps.

    Raises
    ------
    BenchError
        If the file cannot be written.
    """
    buffer = io.BytesIO()
    nir.write(buffer, to_graph(network, origin))
    with atomic_file(path) as file:
        file.write(buffer.getvalue())


@torch.no_grad()
def to_graph(network: Network, origin: Mapping[str, str]) -> Any:
    """Build the ``nir.NIRGraph`` of a network; the parameters are those of `write_graph`."""
    graph = _GraphBuilder()
    signal = carried = graph.add("input", nir.Input(np.array(network.input_shape)))
    for stage in network.stages:
        signal = graph.flatten(signal) if isinstance(stage.weights, nn.Linear) else signal
        current = graph.weights(stage.name, stage.weights, stage.norm, signal)
        if stage.shortcut:
            added = graph.shortcut(stage.shortcut, carried)
            current = Signal(current.nodes + added.nodes, current.shape)  # NIR adds them up
        neurons = _neurons(cast(snn.Leaky, stage.neuron), current.shape)
        spikes = graph.add(f"{stage.name}_neuron", neurons, current)
        signal = graph.pool(f"{stage.name}_pool", stage.pool, spikes)
        if stage.carries == "output":
            carried = signal
        elif stage.carries == "current":
            carried = graph.pool(f"{stage.name}_current_pool", stage.pool, current)
    readout = nir.Affine(weight=array(network.readout.weight), bias=array(network.readout.bias))
    scores = graph.add(READOUT, readout, graph.flatten(signal))
    graph.add("output", nir.Output(np.array([network.classes])), scores)
    metadata = {"dt": DT, "time_steps": network.steps, "input": _INPUT, "scores": _SCORES}
    return nir.NIRGraph(graph.nodes, graph.edges, {**origin, **metadata})


class Signal(NamedTuple):
    """The sum of the outputs of some nodes, and its shape at one time step."""

    nodes: tuple[str, ...]
    shape: Shape


class _GraphBuilder:
    """Collects the nodes and edges of a graph."""

    def __init__(self) -> None:
        self.nodes: dict[str, Any] = {}
        self.edges: list[tuple[str, str]] = []

    def add(
        self, name: str, node: Any, source: Signal | None = None, shape: Shape | None = None
    ) -> Signal:
        """Add a node that reads `source`; give `shape` if NIR cannot tell its output shape."""
        self.nodes[name] = node
        if source is not None:
            self.edges += [(before, name) for before in source.nodes]
        if shape is None:
            shape = tuple(int(n) for n in node.output_type["output"])
        return Signal((name,), shape)

    def flatten(self, signal: Signal) -> Signal:
        """Flatten feature maps; a vector stays as it is."""
        if len(signal.shape) == 1:
            return signal
        node = nir.Flatten(np.array(signal.shape), start_dim=0, end_dim=-1)
        return self.add("flatten", node, signal, (math.prod(signal.shape),))

    def weights(
        self, name: str, weights: nn.Conv2d | nn.Linear, norm: nn.Module, source: Signal
    ) -> Signal:
        """Add the weights of a layer, with the batch norm after them, if there is one."""
        node = weights_node(weights, *affine(weights, norm), source.shape)
        return self.add(name, node, source)

    def shortcut(self, shortcut: Shortcut, carried: Signal) -> Signal:
        """Return the signal that a shortcut adds to a current; the identity needs no node."""
        if shortcut.weights is None or shortcut.norm is None:
            return carried
        return self.weights(shortcut.name, shortcut.weights, shortcut.norm, carried)

    def pool(self, name: str, pool: nn.Module, source: Signal) -> Signal:
        """Add average pooling, or max pooling of spikes as a sum and a threshold."""
        if not isinstance(pool, nn.MaxPool2d | nn.AvgPool2d):
            return source
        kernel, stride, padding = map(pair, (pool.kernel_size, pool.stride, pool.padding))
        shape = pooled_shape(source.shape, kernel, stride, padding)
        if isinstance(pool, nn.AvgPool2d):
            return self.add(name, nir.AvgPool2d(kernel, stride, padding), source, shape)
        pooled = self.add(name, nir.SumPool2d(kernel, stride, padding), source, shape)
        return self.add(f"{name}_any", nir.Threshold(np.full(shape, 0.5)), pooled)


def _neurons(neuron: snn.Leaky, shape: Shape) -> Any:
    """Build the neurons of a layer, which are set to zero when they spike."""
    beta = float(neuron.beta.clamp(0, 1))
    return leaky(beta, float(neuron.threshold), shape).spiking()
