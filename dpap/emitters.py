"""Emitters: the neuron module that emits the output of each layer, found by tracing one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import snntorch
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

#: Module types that count as neurons: their output is the activity of the layers before them.
NEURONS: tuple[type[nn.Module], ...] = (
    snntorch.SpikingNeuron,
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.PReLU,
    nn.ELU,
    nn.CELU,
    nn.SELU,
    nn.GELU,
    nn.SiLU,
    nn.Mish,
    nn.Hardswish,
    nn.Hardtanh,
    nn.Softplus,
    nn.Sigmoid,
    nn.Tanh,
)

#: A module path, and the index of one of the module's calls.
_Call = tuple[str, int]


@dataclass(frozen=True)
class Emitter:
    """The neuron module that emits a layer's output.

    Parameters
    ----------
    neuron
        Module path of the neuron module.
    calls
        Indices of the calls, from 0, that emit this layer's output. A block may use one ``nn.ReLU``
        for two layers, and then each layer has its own calls.
    period
        Number of calls of the neuron module in one pass; then the indices start again.
    reads
        Whether `neuron` is a layer that reads the output, because no neuron module receives it:
        then the activity is the absolute input of this layer.
    current
        Whether `neuron` is the layer itself: then the activity is its absolute output.
    """

    neuron: str
    calls: frozenset[int]
    period: int
    reads: bool = False
    current: bool = False

    def emits(self, call: int) -> bool:
        """Whether call number `call`, counted over all passes, emits the layer's output."""
        return call % self.period in self.calls


@contextmanager
def undisturbed(network: nn.Module) -> Iterator[None]:
    """Evaluation mode, without compilation and with membranes at rest; restores all afterwards.

    The training mode of each module, its attributes and its buffers (such as snnTorch's membranes)
    are the same as before.
    """
    before = [(module, vars(module).copy(), module._buffers.copy()) for module in network.modules()]
    network.eval()
    for module in network.modules():
        # A membrane may belong to the autograd graph of an earlier pass.
        if isinstance(module, snntorch.SpikingNeuron):
            for name in module._non_persistent_buffers_set:
                setattr(module, name, torch.zeros(0))
    try:
        with torch.enable_grad(), torch.compiler.set_stance("force_eager"):
            yield
    finally:
        for module, attributes, buffers in before:
            vars(module).clear()
            vars(module).update(attributes)
            module._buffers.clear()
            module._buffers.update(buffers)


def emitters(
    network: nn.Module,
    layers: Iterable[str],
    forward: Callable[[], object],
    neurons: tuple[type[nn.Module] | str, ...] = (),
) -> dict[str, list[Emitter]]:
    """Follow the output of each layer to the neuron module and to the layers that receive it.

    Parameters
    ----------
    network
        The network.
    layers
        Module paths of convolution and linear layers.
    forward
        Runs the network on an example, for one time step or more.
    neurons
        Types or paths of modules that count as neurons, besides `NEURONS`.

    Returns
    -------
    dict
        Layer -> where its activity may be recorded, the best place first: the neuron modules that
        it reaches first, then the layers that read it, then the layer itself.
    """
    modules = dict(network.named_modules())
    layers = tuple(layers)
    kinds = (*NEURONS, *(kind for kind in neurons if isinstance(kind, type)))
    tracer = _Tracer()
    inside: dict[str, str] = {}  # path of a module inside a neuron module -> the neuron module
    with ExitStack() as stack:
        for name, module in modules.items():
            is_neuron = isinstance(module, kinds) or name in neurons or _is_spiking(module)
            hook = tracer.at_neuron(name) if is_neuron else None
            if is_neuron:
                inside.update(
                    {f"{name}.{part}".strip("."): name for part, _ in module.named_modules()}
                )
            if isinstance(module, nn.modules.conv._ConvNd | nn.Linear):
                hook = tracer.at_layer(name)
            if hook is not None:
                stack.callback(module.register_forward_hook(hook).remove)
        stack.enter_context(tracer)
        forward()
    found = {layer: [*_places(layer, tracer)] for layer in layers}
    for layer in layers:
        if layer in inside:  # a recurrent connection
            name = inside[layer]
            every = frozenset(range(tracer.calls.get(name, 1)))
            found[layer].insert(0, Emitter(name, every, max(1, len(every))))
    return found


def _is_spiking(module: nn.Module) -> bool:
    """Whether a module is a neuron of SpikingJelly or Norse, which need not be installed."""
    return any(kind.__name__ in ("BaseNode", "SNNCell", "SNN") for kind in type(module).__mro__)


def _places(layer: str, tracer: _Tracer) -> Iterator[Emitter]:
    for received, reads in ((tracer.received, False), (tracer.read, True)):
        calls = [call for tag, found in received.items() if tag[0] == layer for call in found]
        for name in dict.fromkeys(name for name, _ in calls):
            numbers = frozenset(number for other, number in calls if other == name)
            yield Emitter(name, numbers, tracer.calls[name], reads)
    period = tracer.calls.get(layer, 0)
    yield Emitter(layer, frozenset(range(period)), period, current=True)


class _Tracer(TorchFunctionMode):
    """Tags each tensor with the layer calls that it was computed from.

    While the mode is active, the outputs of every torch function get the tags of its inputs.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[str, int] = {}
        self.received: dict[_Call, list[_Call]] = {}
        #: Layer call -> the layer calls that read its output, with or without neurons between.
        self.read: dict[_Call, list[_Call]] = {}
        self._inputs: dict[_Call, object] = {}
        # The tensors are stored too, so that no other tensor gets the same id.
        self._tags: dict[int, tuple[Tensor, frozenset[_Call]]] = {}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        tags = self._tags_of((args, kwargs))
        if tags:
            # x[...] = y returns None and changes its first argument.
            self._mark(args[0] if result is None else result, tags)
        return result

    def at_layer(self, name: str) -> Callable[..., None]:
        """Make a forward hook that tags the layer's output with this call."""

        def hook(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
            call = self._count(name)
            for tag in self._tags_of(arguments):
                self.read.setdefault(tag, []).append(call)
            self._mark(output, frozenset({call}))

        return hook

    def at_neuron(self, name: str) -> Callable[..., None]:
        """Make a forward hook that records the tags of the neuron's input; its output has none."""

        def hook(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
            call = self._count(name)
            for tag in self._tags_of(arguments[:1]):
                calls = self.received.setdefault(tag, [call])
                # A loop over time may give one current to the neurons at each step.
                same = self._inputs.get(calls[0]) is arguments[0] if arguments else False
                if call not in calls and same and calls[0][0] == name:
                    calls.append(call)
            self._inputs[call] = arguments[0] if arguments else None
            self._mark(output, frozenset())

        return hook

    def _count(self, name: str) -> _Call:
        self.calls[name] = self.calls.get(name, 0) + 1
        return name, self.calls[name] - 1

    def _tags_of(self, value: object) -> frozenset[_Call]:
        found = (self._tags.get(id(tensor)) for tensor in _tensors(value))
        return frozenset().union(*(entry[1] for entry in found if entry is not None))

    def _mark(self, value: object, tags: frozenset[_Call]) -> None:
        self._tags.update((id(tensor), (tensor, tags)) for tensor in _tensors(value))


def first_tensor(output: Any) -> Tensor:
    """Return a module's output; of a tuple, list or dict, the first tensor."""
    while isinstance(output, tuple | list | dict):
        output = next(iter(output.values())) if isinstance(output, dict) else output[0]
    assert isinstance(output, Tensor)
    return output


def _tensors(value: object) -> Iterator[Tensor]:
    """Yield all tensors in nested tuples, lists and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
