"""The layers of a network and the shortcuts between them, built from a `NetworkSpec`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, cast

import torch
from torch import Tensor, nn

from pipelines.networks.neurons import Neuron
from pipelines.settings.layout import Token, has_projection, parse_layout
from pipelines.settings.network import READOUT, NetworkSpec

Carried = Literal["current", "output"]
#: Suffix of the name of a projection shortcut; the prefix is the layer whose current it adds to.
SHORTCUT = "_shortcut"


@dataclass(frozen=True)
class Shortcut:
    """The shortcut of a residual block: a projection, or the identity if it has no modules.

    Parameters
    ----------
    name
        Layer name of a projection; empty for the identity.
    weights, norm
        Convolution and batch norm of a projection; without batch norm, `norm` is the identity.
    """

    name: str = ""
    weights: nn.Conv2d | None = None
    norm: nn.Module | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Return the addend to the current of the block's last layer, [N, C, H, W]."""
        if self.weights is None or self.norm is None:
            return x
        return cast(Tensor, self.norm(self.weights(x)))


@dataclass(frozen=True)
class Stage:
    """One prunable layer: weights, batch norm, neuron, pooling.

    Parameters
    ----------
    name
        Name of the layer, such as ``conv1`` or ``fc1``.
    weights, norm, neuron, pool
        Modules of the layer, in the order of computation.
    shortcut
        Shortcut of the block that ends here: added to the output of the batch norm.
    carries
        What the shortcut of the block that begins after this layer reads: the ``output`` of the
        neurons, or their input ``current``, either of them pooled. None: no block begins here.
    """

    name: str
    weights: nn.Conv2d | nn.Linear
    norm: nn.Module
    neuron: nn.Module
    pool: nn.Module
    shortcut: Shortcut | None = None
    carries: Carried | None = None

    @property
    def joined(self) -> bool:
        """Whether a shortcut ends at this layer, or reads the input current of its neurons."""
        return self.shortcut is not None or self.carries == "current"

    def modules(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield the modules of the layer and their names in the network."""
        yield self.name, self.weights
        yield f"{self.name}_norm", self.norm
        yield f"{self.name}_neuron", self.neuron
        if not isinstance(self.pool, nn.Identity):
            yield f"{self.name}_pool", self.pool
        if self.shortcut and self.shortcut.weights and self.shortcut.norm:
            yield self.shortcut.name, self.shortcut.weights
            yield f"{self.shortcut.name}_norm", self.shortcut.norm


def has_neurons(layer: str) -> bool:
    """Whether a layer has neurons; the readout and projection shortcuts have none."""
    return layer != READOUT and not layer.endswith(SHORTCUT)


def scan_window(pool: nn.Module, shape: torch.Size) -> int:
    """Side of the windows that a fused scan pools itself; 1: pooling comes after it.

    It pools maxima of windows that neither overlap nor cross the border.

    Parameters
    ----------
    pool
        The layer's pooling.
    shape
        Of its maps, [T, B, C, H, W].
    """
    if not isinstance(pool, nn.MaxPool2d) or pool.padding or pool.stride != pool.kernel_size:
        return 1
    size = cast(int, pool.kernel_size)
    return size if all(extent % size == 0 for extent in shape[3:]) else 1


def build_stages(
    spec: NetworkSpec, input_shape: tuple[int, int, int], neurons: Neuron
) -> tuple[tuple[Stage, ...], int]:
    """Build the layers of a network before its readout.

    Parameters
    ----------
    spec
        The network.
    input_shape
        Shape of one sample at one time step: [channels, height, width].
    neurons
        Model of the neurons.

    Returns
    -------
    tuple of tuple and int
        The layers, and the number of input features of the readout.

    Raises
    ------
    ValueError
        If pooling and strides leave no feature map of inputs of this shape.
    """
    builder = _Builder(spec, input_shape, neurons)
    for token in parse_layout(spec.layout):
        builder.add(token)
    return tuple(builder.stages), builder.features


class _Builder:
    """Builds stages from the tokens of a layout, one token after another."""

    def __init__(
        self, spec: NetworkSpec, input_shape: tuple[int, int, int], neurons: Neuron
    ) -> None:
        self.spec = spec
        self.neurons = neurons
        self.input_shape = input_shape
        self.shape: tuple[int, ...] = input_shape  # of the input of the next layer
        self.stages: list[Stage] = []
        self.block: list[Token] = []
        self.source = 0  # the stage after which the block begins

    @property
    def features(self) -> int:
        return math.prod(self.shape)

    @property
    def bias(self) -> bool:
        """Whether layers have a bias: the shift of batch norm is one."""
        return self.spec.norm == "none"

    def _norm(self, kind: Callable[[int], nn.Module], size: int) -> nn.Module:
        return kind(size) if self.spec.norm == "batch" else nn.Identity()

    def add(self, token: Token) -> None:
        if token.kind == "conv":
            self._conv(token)
        elif token.kind == "fc":
            linear = nn.Linear(self.features, token.size, bias=self.bias)
            self._stage("fc", linear, self._norm(nn.BatchNorm1d, token.size))
            self.shape = (token.size,)
        else:
            self._pool(token)
        if 0 in self.shape:
            text, shape = self.spec.layout, self.input_shape
            raise ValueError(f"layout '{text}' leaves no map of {shape} inputs; pool less")

    def _conv(self, token: Token) -> None:
        if token.opens:
            self.block, self.source = [], len(self.stages) - 1
        self.block.append(token)
        kernel, stride = token.kernel, token.stride
        conv = nn.Conv2d(self.shape[0], token.size, kernel, stride, kernel // 2, bias=self.bias)
        self._stage("conv", conv, self._norm(nn.BatchNorm2d, token.size))
        self._slide(token.size, kernel, stride, kernel // 2)
        if token.closes:
            self._shortcut()

    def _stage(self, kind: str, weights: nn.Conv2d | nn.Linear, norm: nn.Module) -> None:
        name = f"{kind}{sum(s.name.startswith(kind) for s in self.stages) + 1}"
        self.stages.append(Stage(name, weights, norm, self.neurons.build(), nn.Identity()))

    def _shortcut(self) -> None:
        """Add the shortcut of the block that ends at the last stage."""
        source, last = self.stages[self.source], self.stages[-1]
        shortcut = Shortcut()
        carries: Carried = "output" if self.spec.kind == "ann" else "current"
        if has_projection(self.block):
            before, after = source.weights.weight.shape[0], last.weights.weight.shape[0]
            stride = math.prod(token.stride for token in self.block)
            conv = nn.Conv2d(before, after, 1, stride, bias=self.bias)
            norm = self._norm(nn.BatchNorm2d, after)
            shortcut = Shortcut(f"{last.name}{SHORTCUT}", conv, norm)
            carries = "output"
        self.stages[self.source] = replace(source, carries=carries)
        self.stages[-1] = replace(last, shortcut=shortcut)

    def _pool(self, token: Token) -> None:
        channels, height, width = self.shape
        pool: nn.Module
        if token.kind == "gap":
            pool, self.shape = nn.AvgPool2d((height, width)), (channels, 1, 1)
        elif token.stride:
            pool = nn.MaxPool2d(token.size, token.stride, token.size // 2)
            self._slide(channels, token.size, token.stride, token.size // 2)
        else:
            pool = (nn.MaxPool2d if token.kind == "max" else nn.AvgPool2d)(token.size)
            self._slide(channels, token.size, token.size, 0)
        self.stages[-1] = replace(self.stages[-1], pool=pool)

    def _slide(self, channels: int, window: int, stride: int, padding: int) -> None:
        """Set the shape of the next input after a convolution or pooling window has passed."""
        height, width = (max(0, (n + 2 * padding - window) // stride + 1) for n in self.shape[1:])
        self.shape = (channels, height, width)
