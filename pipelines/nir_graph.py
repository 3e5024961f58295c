"""A finished spiking network as a graph of the Neuromorphic Intermediate Representation, NIR.

NIR (Pedersen et al., Nature Communications 2024, arXiv 2311.14641) describes neurons by
differential equations. Here they mean one Euler step of `DT` seconds per time step, as they do for
snnTorch:

- ``LIF`` with tau = DT / (1 - beta), R = 1 / (1 - beta), v_leak = v_reset = 0 becomes
  v <- beta * v + I; spike if v > threshold; v <- 0 where it spiked. `snntorch.Leaky` with the reset
  ``zero`` forgets its potential one step later, before it decays, which gives the same spikes.
- ``IF`` with R = 1 / DT is the neuron whose beta is 1.
- The largest of spikes is 1 if their sum is above 0.5: ``SumPool2d``, then ``Threshold``.

Batch norm is folded into the weights before it. The graph gives one vector per time step; the class
scores are their mean.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import snntorch as snn
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipelines.core.data.files import atomic_file
from pipelines.core.networks import READOUT, Network
from pipelines.core.stages import Stage

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
    if network.spec.kind == "ann":
        return f"NIR has no ReLU, which layer '{network.stages[0].name}' needs."
    if network.spec.reset == "subtract":
        return (
            f"NIR resets neurons to a value; those of layer '{network.stages[0].name}' lose their "
            "threshold (reset: subtract)."
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
    shape: Shape = network.input_shape
    nodes: dict[str, Any] = {"input": nir.Input(np.array(shape))}
    for stage in network.stages:
        if isinstance(stage.weights, nn.Linear):
            shape = _flatten(nodes, shape)
        nodes[stage.name] = _weights(stage, shape)
        shape = tuple(int(n) for n in nodes[stage.name].output_type["output"])
        nodes[f"{stage.name}_neuron"] = _neurons(cast(snn.Leaky, stage.neuron), shape)
        if not isinstance(stage.pool, nn.Identity):
            shape = _pool(nodes, stage, shape)
    _flatten(nodes, shape)
    readout = network.readout
    nodes[READOUT] = nir.Affine(weight=_array(readout.weight), bias=_array(readout.bias))
    nodes["output"] = nir.Output(np.array([network.classes]))
    metadata = {"dt": DT, "time_steps": network.steps, "input": _INPUT, "scores": _SCORES}
    return nir.NIRGraph(nodes, list(pairwise(nodes)), {**origin, **metadata})


def _array(tensor: Tensor) -> Array:
    return tensor.detach().cpu().contiguous().float().numpy().copy()


def _flatten(nodes: dict[str, Any], shape: Shape) -> Shape:
    """Flatten maps, once."""
    if len(shape) == 1:
        return shape
    nodes["flatten"] = nir.Flatten(np.array(shape), start_dim=0, end_dim=-1)
    return (math.prod(shape),)


def _weights(stage: Stage, shape: Shape) -> Any:
    """Weights with the batch norm after them, folded in double precision."""
    weights, norm = stage.weights, cast(nn.BatchNorm2d, stage.norm)
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


def _pool(nodes: dict[str, Any], stage: Stage, shape: Shape) -> Shape:
    """Average pooling as it is, max pooling of spikes as a sum and a threshold."""
    pool = stage.pool
    assert isinstance(pool, nn.MaxPool2d | nn.AvgPool2d)
    assert isinstance(pool.kernel_size, int)
    size, name = pool.kernel_size, f"{stage.name}_pool"
    kind = nir.AvgPool2d if isinstance(pool, nn.AvgPool2d) else nir.SumPool2d
    window = np.array([size, size])
    nodes[name] = kind(kernel_size=window, stride=window, padding=np.array([0, 0]))
    shape = (shape[0], shape[1] // size, shape[2] // size)
    if isinstance(pool, nn.MaxPool2d):
        nodes[f"{name}_any"] = nir.Threshold(np.full(shape, 0.5))
    return shape
