"""Event-driven inference of one sample: the time grows with its SynOps.

For each input that is not zero, the C code beside this file adds the weights that lead from it. It
reads no weight that is zero. It is a forward pass alone, for networks that are finished: building
the lists of weights takes much longer than one sample.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from pipelines.kernels.cpu import compiler

_SOURCE = Path(__file__).with_suffix(".c")
#: Numbers that the C code may write past the end of a map.
_SLACK = 256

Map = tuple[int, int, int]


class Pool(NamedTuple):
    """Pooling: the maximum of each window, or the average.

    Parameters
    ----------
    window, stride
        Height and width of a window, and how far it moves down and to the right.
    border
        Width of the border of zeros, which has no part in a maximum of spikes; 0 for averages.
    maximum
        Whether it is the maximum.
    """

    window: tuple[int, int]
    stride: tuple[int, int]
    border: int
    maximum: bool


@dataclass(frozen=True)
class Weights:
    """Weights of a layer, with batch norm folded in.

    Parameters
    ----------
    weight, bias
        [units, C, k, k] and [units]; of a linear layer the kernel has the size of its input.
    input_shape, output_shape
        One step of one sample, [C, H, W].
    stride, border
        Of a convolution.
    """

    weight: Tensor
    bias: Tensor
    input_shape: Map
    output_shape: Map
    stride: int = 1
    border: int = 0


@dataclass(frozen=True)
class Neurons:
    """Leaky neurons of a layer, and the pooling of their spikes.

    Parameters
    ----------
    decay, threshold
        Of the membrane potential, as `pipelines.kernels.scan.lif_scan` has them.
    subtract
        Whether a spike subtracts the threshold; else it sets the potential to zero.
    pool
        Pooling of the spikes, or None.
    heard
        Time steps at which the spikes of a unit are sent, bool [units, T]; None: all.
    """

    decay: float
    threshold: float
    subtract: bool = False
    pool: Pool | None = None
    heard: Tensor | None = None

    def sent_shape(self, shape: Map) -> Map:
        """Return the shape of maps [C, H, W] after pooling."""
        if self.pool is None:
            return shape
        pool = self.pool
        height, width = (
            (extent + 2 * pool.border - window) // stride + 1
            for extent, window, stride in zip(shape[1:], pool.window, pool.stride, strict=True)
        )
        return shape[0], height, width


def available(dtype: torch.dtype = torch.float32) -> bool:
    """Whether the C code can be compiled here for a number format."""
    return compiler.library(_SOURCE, dtype) is not None


class EventStack:
    """Layers of leaky neurons and a linear readout, for one sample at a time.

    Parameters
    ----------
    layers
        Weights and neurons of each layer. Each reads what the one before sends.
    readout
        Weights of the readout, which reads the mean over time.
    steps
        Time steps T of a sample.

    Raises
    ------
    RuntimeError
        At the first sample, if the C code cannot be compiled.
    """

    def __init__(
        self, layers: Sequence[tuple[Weights, Neurons]], readout: Weights, steps: int
    ) -> None:
        self.dtype = readout.weight.dtype
        self.outputs = len(readout.bias)
        self.input_shape = layers[0][0].input_shape
        self._keep: list[Tensor] = []  # the C code holds addresses only
        entries = [self._layer(weights, neurons) for weights, neurons in layers]
        self._layers = (_Layer * (len(entries) + 1))(*entries, self._layer(readout, None))
        self._still = self._still_layer(layers[0][0])
        self._current = self._room(math.prod(layers[0][0].output_shape))
        potentials = max(math.prod(weights.output_shape) for weights, _ in layers)
        sent = max(math.prod(n.sent_shape(w.output_shape)) for w, n in layers)
        received = max(math.prod(weights.input_shape) for weights, _ in layers)
        rooms = (self._room(potentials), self._room(potentials))
        signals = (self._room(steps * sent), self._room(steps * sent))
        found = self._kept(torch.empty(max(received, sent), dtype=torch.int32))
        self._stack = _Stack(len(self._layers), steps, *map(_at, (*rooms, *signals, found)))

    def __call__(self, x: Tensor) -> tuple[Tensor, list[int]]:
        """Compute one sample.

        Parameters
        ----------
        x
            [C, H, W], an image that is shown at each step; or its events, [T, C, H, W].

        Returns
        -------
        tuple of Tensor and list
            Class scores, [classes]; and the number of additions of each layer, the readout last.
            An image is a dense input: its convolution is computed once and counts as zero.

        Raises
        ------
        ValueError
            If the sample has another shape or number format.
        """
        shape = (self._stack.steps, *self.input_shape) if x.dim() == 4 else self.input_shape
        if tuple(x.shape) != shape or x.dtype != self.dtype:
            raise ValueError(f"the sample is {x.dtype} {list(x.shape)}, not {self.dtype} {shape}")
        x, current = x.contiguous(), None
        if x.dim() == 3:
            current = self._current
            compiler.call(_SOURCE, self.dtype, "convolve", self._still, x, current)
        scores = torch.empty(self.outputs, dtype=self.dtype)
        added = torch.empty(len(self._layers), dtype=torch.int64)
        events = x if current is None else None
        compiler.call(
            _SOURCE, self.dtype, "infer", self._layers, self._stack, events, current, scores, added
        )
        return scores, added.tolist()

    def _kept(self, tensor: Tensor) -> Tensor:
        self._keep.append(tensor.contiguous())
        return self._keep[-1]

    def _room(self, numbers: int) -> Tensor:
        return self._kept(torch.zeros(numbers + _SLACK, dtype=self.dtype))

    def _layer(self, weights: Weights, neurons: Neurons | None) -> _Layer:
        units, height, width = weights.output_shape
        lists = _listed(weights)
        given = [_at(self._kept(tensor)) for tensor in lists]
        bias = weights.bias.view(-1, 1).expand(units, height * width).flatten()
        geometry = [weights.input_shape[0], math.prod(weights.input_shape[1:]), _classes(lists)]
        entry = [*geometry, *given, _at(self._kept(bias)), units, height, width]
        if neurons is None:
            return _Layer(*entry)
        _, *pooled = neurons.sent_shape(weights.output_shape)
        pool = neurons.pool or Pool((0, 0), (0, 0), 0, maximum=False)
        heard = neurons.heard
        return _Layer(
            *entry,
            neurons.decay,
            neurons.threshold,
            neurons.subtract,
            *pool.window,
            *pool.stride,
            pool.border,
            pool.maximum,
            *pooled,
            None if heard is None else _at(self._kept(heard.t().to(torch.uint8))),
        )

    def _still_layer(self, weights: Weights) -> _Still:
        """Describe the convolution of an image, whose planes have one phase of the stride each."""
        stride, border, (channels, height, width) = (
            weights.stride, weights.border, weights.input_shape,
        )  # fmt: skip
        units, rows, columns = weights.output_shape
        pitch = -(-(width + 2 * border) // stride)
        plane = pitch * (-(-(height + 2 * border) // stride) + 1)
        unit, channel, row, column = weights.weight.nonzero().t()
        phase = (channel * stride + row % stride) * stride + column % stride
        places = phase * plane + row // stride * pitch + column // stride
        tensors = (
            _starts(unit, units),
            places.to(torch.int32),
            weights.weight[unit, channel, row, column],
            weights.bias,
        )
        room = (self._room(channels * stride * stride * plane), self._room(rows * pitch))
        shape = (channels, height, width, stride, border, units, rows, columns, pitch, plane)
        return _Still(*shape, *(_at(self._kept(tensor)) for tensor in tensors), *map(_at, room))


class _Axis(NamedTuple):
    """How the places of one axis of an input meet the kernel.

    Parameters
    ----------
    classes, bases
        Of each place: its class, and the output from which distances count.
    taps
        Class -> (place in the kernel, distance of the output) of each weight that is met.
    """

    classes: list[int]
    bases: list[int]
    taps: list[list[tuple[int, int]]]


def _axis(extent: int, kernel: int, stride: int, border: int, outputs: int) -> _Axis:
    classes, bases, known = [], [], dict[tuple[tuple[int, int], ...], int]()
    for place in range(extent):
        base = (place + border) // stride
        met = [(k, *divmod(place + border - k, stride)) for k in range(kernel)]
        taps = tuple((k, out - base) for k, out, rest in met if not rest and 0 <= out < outputs)
        classes.append(known.setdefault(taps, len(known)))
        bases.append(base)
    return _Axis(classes, bases, [list(taps) for taps in known])


def _listed(weights: Weights) -> tuple[Tensor, ...]:
    """List the weights that are not zero by what they read.

    Returns
    -------
    tuple
        Class and base of each place of an input map, int32; where the list of each channel and
        class begins, int64; the distance of each weight, int32; and the weights.
    """
    channels, *extents = weights.input_shape
    _, height, width = weights.output_shape
    sides = weights.weight.shape[2:]
    down, right = (
        _axis(extent, side, weights.stride, weights.border, outputs)
        for extent, side, outputs in zip(extents, sides, (height, width), strict=True)
    )
    count = len(right.taps)
    classes = [a * count + b for a, b in product(down.classes, right.classes)]
    bases = [a * width + b for a, b in product(down.bases, right.bases)]
    total = len(down.taps) * count
    keys, distances, values = [], [], []
    by_channel = weights.weight.transpose(0, 1)
    for index, (rows, columns) in enumerate(product(down.taps, right.taps)):
        kernel = [(m, n, a * width + b) for (m, a), (n, b) in product(rows, columns)]
        if not kernel:
            continue
        m, n, shift = torch.tensor(kernel).t()
        met = by_channel[:, :, m, n]
        channel, unit, tap = met.nonzero().t()
        keys.append(channel * total + index)
        distances.append(unit * (height * width) + shift[tap])
        values.append(met[channel, unit, tap])
    key = torch.cat(keys)
    order = key.argsort(stable=True)
    return (
        torch.tensor(classes, dtype=torch.int32),
        torch.tensor(bases, dtype=torch.int32),
        _starts(key, channels * total),
        torch.cat(distances)[order].to(torch.int32),
        torch.cat(values)[order],
    )


def _classes(lists: tuple[Tensor, ...]) -> int:
    return int(lists[0].max()) + 1


def _starts(keys: Tensor, count: int) -> Tensor:
    """Return where the entries of each key begin once they are sorted, int64 [count + 1]."""
    return torch.cat(
        (torch.zeros(1, dtype=torch.int64), torch.bincount(keys, minlength=count).cumsum(0))
    )


def _at(tensor: Tensor) -> int:
    return tensor.data_ptr()


def _fields(names: str, kind: type) -> list[tuple[str, type]]:
    return [(name, kind) for name in names.split()]


class _Layer(ctypes.Structure):
    _fields_ = (
        *_fields("channels places classes", ctypes.c_int64),
        *_fields("class_of base starts distance weights bias", ctypes.c_void_p),
        *_fields("units height width", ctypes.c_int64),
        *_fields("decay threshold", ctypes.c_double),
        *_fields("subtract", ctypes.c_int64),
        *_fields("window_height window_width down right border maximum", ctypes.c_int64),
        *_fields("pooled_height pooled_width", ctypes.c_int64),
        *_fields("heard", ctypes.c_void_p),
    )


class _Stack(ctypes.Structure):
    _fields_ = (
        *_fields("layers steps", ctypes.c_int64),
        *_fields("potentials fired even odd found", ctypes.c_void_p),
    )


class _Still(ctypes.Structure):
    _fields_ = (
        *_fields("channels height width stride border", ctypes.c_int64),
        *_fields("units rows columns pitch plane", ctypes.c_int64),
        *_fields("starts places weights bias planes sums", ctypes.c_void_p),
    )
