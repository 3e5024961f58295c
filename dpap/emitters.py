"""Which neuron module emits the output of each layer, found by following one forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import snntorch
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

#: What counts as a neuron: its output is the activity of the layers before it.
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

_Call = tuple[str, int]  # a module, and which of its calls


@dataclass(frozen=True)
class Emitter:
    """The neuron module that emits a layer's output.

    Parameters
    ----------
    neuron
        Module path of the neuron.
    calls
        Which of the neuron's calls, from 0; a block may use one ``nn.ReLU`` for two layers.
    period
        Calls of the neuron in the traced pass, after which it starts anew.
    """

    neuron: str
    calls: frozenset[int]
    period: int

    def emits(self, call: int) -> bool:
        """Whether the layer's output comes out of this call, counted over any passes."""
        return call % self.period in self.calls


@contextmanager
def undisturbed(network: nn.Module) -> Iterator[None]:
    """Run a pass in evaluation mode, uncompiled and from rest; put every module's attributes back.

    Modes, and buffers that a pass replaces, such as snnTorch's membranes, are as before.
    """
    before = [(module, vars(module).copy(), module._buffers.copy()) for module in network.modules()]
    network.eval()
    for module in network.modules():
        if isinstance(module, snntorch.SpikingNeuron):  # a membrane leads into an earlier pass
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
    network: nn.Module, layers: Iterable[str], forward: Callable[[], object]
) -> dict[str, Emitter]:
    """Follow the output of each layer to the first neuron module that receives it.

    Parameters
    ----------
    network
        The network, whose `NEURONS` are looked for.
    layers
        Module paths of convolution and linear layers.
    forward
        Runs the network on an example, one step or more.

    Raises
    ------
    ValueError
        If a layer's output reaches no neuron module, or several, or one with a parameter per
        unit, which removal would not cut.
    """
    modules = dict(network.named_modules())
    layers = tuple(layers)
    tracer = _Tracer()
    with ExitStack() as stack:
        for name, module in modules.items():
            hook = tracer.at_neuron(name) if isinstance(module, NEURONS) else None
            hook = tracer.at_layer(name) if name in layers else hook
            if hook is not None:
                stack.callback(module.register_forward_hook(hook).remove)
        stack.enter_context(tracer)
        forward()
    found = {layer: _emitter(layer, tracer.received, tracer.calls) for layer in layers}
    for emitter in found.values():
        _refuse_wide(emitter.neuron, modules[emitter.neuron])
    return found


def _emitter(layer: str, received: Mapping[_Call, _Call], calls: Mapping[str, int]) -> Emitter:
    found = [neuron for (name, _), neuron in received.items() if name == layer]
    neurons = sorted({name for name, _ in found})
    if not neurons:
        raise ValueError(
            f"the output of layer '{layer}' reaches no neuron module: put nn.ReLU, snn.Leaky or "
            "another activation module behind it, not a function such as functional.relu"
        )
    if len(neurons) > 1:
        raise ValueError(
            f"the output of layer '{layer}' reaches several neuron modules ({', '.join(neurons)}): "
            "call the layer once per step"
        )
    return Emitter(neurons[0], frozenset(call for _, call in found), calls[neurons[0]])


def _refuse_wide(name: str, neuron: nn.Module) -> None:
    for key, value in neuron.state_dict().items():
        if value.numel() > 1:
            raise ValueError(
                f"'{name}.{key}' has {value.numel()} entries, which cannot be cut with the units: "
                "give these neurons one value for all"
            )


class _Tracer(TorchFunctionMode):
    """Hands the tags of every function's inputs, the layers they come from, to its outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[str, int] = {}
        self.received: dict[_Call, _Call] = {}
        self._tags: dict[int, tuple[Tensor, frozenset[_Call]]] = {}  # a kept tensor keeps its id

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        tags = self._of((args, kwargs))
        if tags:
            self._mark(args[0] if result is None else result, tags)  # None: x[...] = y
        return result

    def at_layer(self, name: str) -> Callable[..., None]:
        """Make a hook that starts a tag at the layer's output."""

        def hook(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
            self._mark(output, frozenset({self._count(name)}))

        return hook

    def at_neuron(self, name: str) -> Callable[..., None]:
        """Make a hook that ends the tags of the neuron's input."""

        def hook(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
            call = self._count(name)
            for tag in self._of(arguments[:1]):
                self.received.setdefault(tag, call)
            self._mark(output, frozenset())

        return hook

    def _count(self, name: str) -> _Call:
        self.calls[name] = self.calls.get(name, 0) + 1
        return name, self.calls[name] - 1

    def _of(self, value: object) -> frozenset[_Call]:
        found = (self._tags.get(id(tensor)) for tensor in _tensors(value))
        return frozenset().union(*(entry[1] for entry in found if entry is not None))

    def _mark(self, value: object, tags: frozenset[_Call]) -> None:
        self._tags.update((id(tensor), (tensor, tags)) for tensor in _tensors(value))


def first_tensor(output: Any) -> Tensor:
    """Return a module's output, or the first of several."""
    while isinstance(output, tuple | list):
        output = output[0]
    assert isinstance(output, Tensor)
    return output


def _tensors(value: object) -> Iterator[Tensor]:
    """All tensors in nested tuples, lists and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
