"""Nodes of NIR for layers and neurons, with one Euler step of `DT` seconds per time step.

NIR (Pedersen et al., Nature Communications 2024, arXiv 2311.14641) describes neurons by
differential equations:

- A potential v <- beta * v + I has tau = DT / (1 - beta) and R = 1 / (1 - beta); without leak
  (beta = 1) it is an integrator with R = 1 / DT.
- A neuron that is set to zero when it spikes is one node, ``LIF``, ``IF`` or ``CubaLIF``.
- NIR has no node that subtracts its threshold. Such a neuron is a potential (``LI`` or ``I``), a
  ``Threshold``, and a ``Scale`` from the spikes back to the potential, which subtracts one step
  later, as snnTorch does. In a cycle, spikes arrive one time step later.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

#: The package, or None: it is an optional extra.
nir: Any = importlib.import_module("nir") if importlib.util.find_spec("nir") else None

#: Seconds per time step; snnTorch uses the same value for NIR.
DT = 1e-4

Array = NDArray[Any]
Shape = tuple[int, ...]


def array(tensor: Tensor) -> Array:
    """Return a tensor as an array of float32."""
    return tensor.detach().cpu().contiguous().float().numpy().copy()


def pair(size: int | tuple[int, ...]) -> Array:
    """Height and width of a setting of torch, where one number stands for both."""
    return np.array([size, size] if isinstance(size, int) else size)


def pooled_shape(shape: Shape, kernel: Array, stride: Array, padding: Array) -> Shape:
    """Shape [C, H, W] of a map after pooling."""
    height, width = (np.array(shape[1:]) + 2 * padding - kernel) // stride + 1
    return (shape[0], int(height), int(width))


def weights_node(
    layer: nn.Conv2d | nn.Linear, weight: Tensor, bias: Tensor, shape: Shape, padding: Any = None
) -> Any:
    """Build the node of a layer.

    Parameters
    ----------
    layer
        Stride, padding and so on are read from it.
    weight, bias
        From `dpap.export.affine.affine`.
    shape
        Shape of one sample of its input.
    padding
        Padding in numbers, if that of the layer is a word.
    """
    if isinstance(layer, nn.Linear):
        return nir.Affine(weight=array(weight), bias=array(bias))
    return nir.Conv2d(
        input_shape=shape[1:],
        weight=array(_ungrouped(weight, layer.groups)),
        stride=layer.stride,
        padding=layer.padding if padding is None else padding,
        dilation=layer.dilation,
        groups=1,
        bias=array(bias),
    )


def _ungrouped(weight: Tensor, groups: int) -> Tensor:
    """Weights of all pairs of channels, zero between groups: NIR's type check knows no groups."""
    if groups == 1:
        return weight
    outer, inner = len(weight) // groups, weight.shape[1]
    full = weight.new_zeros(len(weight), groups * inner, *weight.shape[2:])
    for g in range(groups):
        rows = slice(g * outer, (g + 1) * outer)
        full[rows, g * inner : (g + 1) * inner] = weight[rows]
    return full


@dataclass(frozen=True)
class Membrane:
    """Constants of the neurons of a layer: v <- decay * v + gain * I + drive.

    A neuron spikes if v > threshold. All are arrays of the shape of one sample, in double
    precision, so that a reader recovers the decay exactly.

    Parameters
    ----------
    decay
        Share of the potential that is left after one step: below 1 everywhere, or 1 everywhere.
    gain
        Weight of the input.
    threshold
        Threshold.
    drive
        Constant input, zero where `decay` is 1.
    """

    decay: Array
    gain: Array
    threshold: Array
    drive: Array

    @property
    def leaky(self) -> bool:
        """Whether the potential decays."""
        return not bool((self.decay == 1).all())

    def spiking(self) -> Any:
        """Build the node of neurons that are set to zero when they spike."""
        zeros = np.zeros_like(self.decay)
        if not self.leaky:
            return nir.IF(r=self.gain / DT, v_threshold=self.threshold, v_reset=zeros)
        return nir.LIF(v_threshold=self.threshold, v_reset=zeros, **self._leak())

    def potential(self) -> Any:
        """Build the node of a potential that is never reset."""
        return nir.LI(**self._leak()) if self.leaky else nir.I(r=self.gain / DT)

    def _leak(self) -> dict[str, Array]:
        rest = 1 - self.decay
        return {"tau": DT / rest, "r": self.gain / rest, "v_leak": self.drive / rest}


def leaky(decay: float, threshold: float, shape: Shape) -> Membrane:
    """Return the constants of neurons that all have the same decay and threshold."""
    zeros = np.zeros(shape)
    return Membrane(np.full(shape, decay), zeros + 1, np.full(shape, threshold), zeros)


@dataclass
class Piece:
    """Part of a graph that stands for one layer of neurons.

    Parameters
    ----------
    nodes
        Name -> node.
    edges
        Edges between these nodes.
    entry, end
        Names of the nodes that read the input and give the spikes.
    """

    nodes: dict[str, Any]
    entry: str
    end: str
    edges: list[tuple[str, str]] = field(default_factory=list)


def reset_to_zero(name: str, membrane: Membrane) -> Piece:
    """Return neurons that are set to zero when they spike."""
    return Piece({name: membrane.spiking()}, name, name)


def reset_by_subtraction(name: str, membrane: Membrane, reset: bool) -> Piece:
    """Return neurons that lose their threshold one step after a spike, or nothing."""
    start = f"{name}_potential"
    nodes = {start: membrane.potential(), name: nir.Threshold(membrane.threshold)}
    piece = Piece(nodes, start, name, [(start, name)])
    if reset:
        nodes[f"{name}_reset"] = nir.Scale(-membrane.threshold / membrane.gain)
        piece.edges += [(name, f"{name}_reset"), (f"{name}_reset", start)]
    return piece
