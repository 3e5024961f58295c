"""The graph of a user's network: which layer reads which, found in two forward passes.

Layers with weights and neurons are nodes. Functions between them are followed one by one: additions
join signals, flattening and pooling are nodes too. What cannot be followed is a doubt, which is an
error only if a layer or the output depends on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import snntorch
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from dpap.attachment.recording import Hook

#: Modules that are nodes; whatever else a network calls is followed inside.
LAYERS = (nn.Linear, nn.Conv2d, nn.BatchNorm1d, nn.BatchNorm2d)
PASSES = 2
_SAME = {"detach", "clone", "contiguous", "to", "float", "double", "requires_grad_", "type_as"}
_ADDITIONS = {"add", "add_", "__add__", "__radd__", "__iadd__"}
_RESHAPES = {"flatten", "view", "reshape", "squeeze"}
_SCALINGS = {"div", "__truediv__", "true_divide", "mul", "__mul__", "__rmul__", "div_", "mul_"}
_ZEROS = {"zeros", "zeros_like", "new_zeros"}
_LIKE = {"ones_like", "empty_like", "rand_like", "randn_like", "full_like", "new_ones", "new_full"}
_READS = {"__bool__", "item", "__float__", "__int__", "tolist", "numpy"}

Moment = tuple[int, int]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Signal:
    """Sum of the outputs of nodes: (name, moment), where a moment is (pass, call)."""

    parts: frozenset[tuple[str, Moment]]

    @property
    def names(self) -> frozenset[str]:
        """The nodes."""
        return frozenset(name for name, _ in self.parts)


@dataclass(frozen=True)
class Gathered:
    """A value made of the outputs of nodes at all time steps: stacked, summed or averaged."""

    names: frozenset[str]
    shape: Shape


@dataclass(frozen=True)
class Zero:
    """Zeros, such as the start of a sum."""


@dataclass(frozen=True)
class Doubt:
    """A value that no node of NIR gives; `reason` is the end of "... reads ...".

    Parameters
    ----------
    reason
        What it is.
    neuron
        Name of the neurons whose state it is, if it is one.
    """

    reason: str
    neuron: str = ""


Mark = Signal | Gathered | Zero | Doubt


@dataclass(frozen=True)
class Node:
    """A node of the graph.

    Parameters
    ----------
    module
        A layer, neurons, pooling, or `nn.Flatten`.
    sources
        Nodes whose sum it reads.
    given, shape
        Shapes of one sample of its input and of its output.
    """

    module: nn.Module
    sources: tuple[str, ...]
    given: Shape
    shape: Shape


@dataclass
class Wiring:
    """The graph of a network. The example is the node `input`, which has no entry in `nodes`."""

    nodes: dict[str, Node] = field(default_factory=dict)
    input_shape: Shape = ()
    output: tuple[str, ...] = ()
    output_shape: Shape = ()


def find_wiring(
    network: nn.Module, example: Tensor, forward: Callable[[nn.Module, Any], Any]
) -> Wiring:
    """Find the graph of a network, which stays in evaluation mode.

    Parameters
    ----------
    network
        A copy of the network, with its neurons at rest.
    example
        One input, [B, ...], or with time steps as `forward` wants it.
    forward
        Runs the network for one time step or for all.

    Raises
    ------
    ValueError
        If something cannot be followed. The message names the module.
    """
    tracer = _Tracer(network)
    network.eval()
    with torch.no_grad():
        for _ in range(PASSES):
            tracer.start(example)
            with tracer:
                result = forward(network, example)
            tracer.finish(result)
    return tracer.wiring


class _Tracer(TorchFunctionMode):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.wiring = Wiring()
        self.marks: dict[int, tuple[Tensor, Mark]] = {}
        self.depth = 0
        self.path: list[tuple[str, nn.Module]] = []
        self.number = -1
        self.calls: dict[str, int] = {}
        self.uses: list[tuple[str, Moment, Signal]] = []
        self.functions: dict[Any, str] = {}
        for name, module in network.named_modules():
            if is_node(module):
                _check_hooks(name, module)
            enter, leave = partial(self._enter, name), partial(self._leave, name)
            module.register_forward_pre_hook(enter, with_kwargs=True, prepend=True)
            module.register_forward_hook(leave, with_kwargs=True)

    def start(self, example: Tensor) -> None:
        """Begin a pass."""
        self.number += 1
        self.calls = {}
        self.uses.clear()
        self.indexed: set[bool] = set()
        self.example = example
        self._mark(example, Signal(frozenset([("input", (self.number, 0))])))

    def finish(self, result: Any) -> None:
        """Check the graph, and note which node is the output."""
        output = next(tensors(result), None)
        mark = None if output is None else self._of(output)
        if isinstance(mark, Signal):
            assert output is not None
            self.wiring.output_shape = tuple(output.shape[1:])
        elif isinstance(mark, Gathered):
            self.wiring.output_shape = mark.shape[1:]
        else:
            why = mark.reason if isinstance(mark, Doubt) else "what no layer computes"
            raise ValueError(
                f"the network returns {why}: return what a layer or spiking neurons give"
            )
        self.wiring.output = tuple(sorted(mark.names))
        if len(self.indexed) > 1:
            raise ValueError("the network reads its input both as a whole and step by step")
        whole = self.example.shape[1:]
        if self.indexed != {True}:
            self.wiring.input_shape = tuple(whole)
        self._check_steps()

    def _check_steps(self) -> None:
        counts: dict[str, set[Moment]] = {}
        for name, moment, _ in self.uses:
            counts.setdefault(name, set()).add(moment)
        for name, moment, signal in self.uses:
            for source, other in signal.parts:
                single = len(counts.get(source, {other})) == 1 and other[0] == moment[0]
                if source == "input" and self.indexed == {True}:
                    single = False
                if other != moment and not single:
                    raise ValueError(
                        f"module '{name}' reads '{source}' of another time step, or runs several "
                        "times per step: NIR needs one module for each use"
                    )

    # Marks

    def _mark(self, tensor: Tensor, mark: Mark) -> None:
        self.marks[id(tensor)] = (tensor, mark)

    def _of(self, value: Any) -> Mark | None:
        found = self.marks.get(id(value))
        return None if found is None else found[1]

    # Modules

    def _enter(self, name: str, module: nn.Module, args: Any, kwargs: Any) -> None:
        self.path.append((name, module))
        self.depth += is_node(module)

    def _leave(self, name: str, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        self.path.pop()
        if not is_node(module):
            return
        self.depth -= 1
        if self.depth:
            return
        given = (*args, *kwargs.values())
        source = self._of(given[0])
        if not isinstance(source, Signal):
            why = source.reason if isinstance(source, Doubt) else "what no layer gives"
            raise ValueError(f"NIR cannot describe the network: module '{name}' reads {why}")
        self._check_states(name, given[1:])
        call = self.calls.get(name, 0)
        self.calls[name] = call + 1
        first, *states = tensors(output)
        moment = (self.number, call)
        self._node(name, module, source, moment, given[0], first)
        for state in states:
            self._mark(state, Doubt(f"the state of the neurons '{name}'", name))

    def _check_states(self, name: str, states: tuple[Any, ...]) -> None:
        """Neurons may read their own last state, or zeros."""
        for state in states:
            if state is None:
                continue
            mark = self._of(state)
            own = isinstance(mark, Doubt) and mark.neuron == name
            own = own or (isinstance(mark, Signal) and mark.names == {name})
            unknown = mark is None and isinstance(state, Tensor) and not bool(state.any())
            if not (own or unknown or isinstance(mark, Zero)):
                raise ValueError(
                    f"module '{name}' starts from a state that is neither zero nor its own"
                )

    def _node(
        self,
        name: str,
        module: nn.Module,
        source: Signal,
        moment: Moment,
        given: Tensor,
        out: Tensor,
    ) -> None:
        shapes = tuple(given.shape[1:]), tuple(out.shape[1:])
        node = Node(module, tuple(sorted(source.names)), *shapes)
        known = self.wiring.nodes.setdefault(name, node)
        if (known.sources, known.given) != (node.sources, node.given):
            raise ValueError(
                f"module '{name}' reads other modules at another call: NIR needs one module for "
                "each use"
            )
        self.uses.append((name, moment, source))
        if source.names == {"input"} and not self.indexed:
            self.indexed.add(False)
        self._mark(out, Signal(frozenset([(name, moment)])))

    # Functions

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if self.depth:
            return out
        name = getattr(func, "__name__", str(func))
        read = list(tensors((args, kwargs)))
        marks = [mark for x in read if (mark := self._of(x)) is not None]
        if name in _ZEROS:
            self._mark(out, Zero())
        elif name == "__setitem__":
            self._written(args, marks)
        elif name in _READS and any(not isinstance(m, Zero) for m in marks):
            raise ValueError(
                f"the way through the network depends on its activity ('{name}' in "
                f"{self._place()}), which NIR cannot describe"
            )
        elif marks and name not in _LIKE:
            self._followed(name, args, kwargs, read, out)
        return out

    def _place(self) -> str:
        name = self.path[-1][0] if self.path else ""
        return f"module '{name}'" if name else "the network's forward method"

    def _followed(self, name: str, args: Any, kwargs: Any, read: list[Tensor], out: Any) -> None:
        results = list(tensors(out))
        if not results:
            return
        doubt = next((m for x in read if isinstance(m := self._of(x), Doubt)), None)
        unknown = doubt or Doubt(f"the result of '{name}' in {self._place()}")
        mark = self._result(name, args, kwargs, results[0]) or unknown
        if name.endswith("_") and not name.startswith("__"):
            self._aliases(results[0], name)
        if isinstance(mark, list):
            for result, one in zip(results, mark, strict=True):
                self._mark(result, one)
            return
        for result in results:
            self._mark(result, mark)

    def _aliases(self, changed: Tensor, name: str) -> None:
        """Doubt all other tensors whose memory was changed in place."""
        storage = changed.untyped_storage()._cdata
        for key, (tensor, _) in list(self.marks.items()):
            if tensor is not changed and tensor.untyped_storage()._cdata == storage:
                self.marks[key] = (tensor, Doubt(f"what '{name}' changed in {self._place()}"))

    def _written(self, args: Any, marks: list[Mark]) -> None:
        """Follow ``record[t] = output``."""
        target, index, value = args
        old, new = self._of(target), self._of(value)
        if not marks:
            return
        mark: Mark = Doubt(f"a tensor that {self._place()} writes in parts")
        if isinstance(index, int) and isinstance(new, Signal):
            gathered = Gathered(new.names, tuple(value.shape))
            if isinstance(old, Zero) or old == gathered:
                mark = gathered
        self._mark(target, mark)

    def _result(self, name: str, args: Any, kwargs: Any, out: Tensor) -> Mark | list[Mark] | None:
        """What a function gives; None: it cannot be followed."""
        x = args[0] if args else None
        mark = self._of(x)
        if name in _ADDITIONS:
            return self._sum(args, out) if len(args) == 2 and not kwargs else None
        if name in ("stack", "cat"):
            return self._joined(x)
        if not isinstance(x, Tensor) or _unchanged(name, x, out):
            return mark
        if name in ("unbind", "__getitem__", "select") and x is self.example:
            return self._steps(name, args)
        return self._computed(name, args, kwargs, out, mark)

    def _computed(
        self, name: str, args: Any, kwargs: Any, out: Tensor, mark: Mark | None
    ) -> Mark | None:
        """What a function of one signal gives."""
        if isinstance(mark, Gathered):
            scaled = name in _SCALINGS and not isinstance(args[1], Tensor)
            reduced = name in ("sum", "mean") and tuple(out.shape) == mark.shape
            return mark if scaled or reduced else None
        module = _module_of(name, args, kwargs, out) if isinstance(mark, Signal) else None
        if module is None or not isinstance(mark, Signal):
            return None
        return self._function(module, mark, args[0], out)

    def _sum(self, args: Any, out: Tensor) -> Mark | None:
        one, two = (Zero() if isinstance(x, int | float) and x == 0 else self._of(x) for x in args)
        if isinstance(one, Zero):
            return two
        if isinstance(two, Zero):
            return one
        if isinstance(one, Signal) and isinstance(two, Signal) and args[0].shape == args[1].shape:
            if one.names.isdisjoint(two.names):
                return Signal(one.parts | two.parts)
            same = one.names == two.names and one.parts != two.parts
            return Gathered(one.names, tuple(out.shape)) if same else None
        known = [m for m in (one, two) if isinstance(m, Signal | Gathered)]
        if len(known) == 2 and known[0].names == known[1].names:
            return Gathered(known[0].names, tuple(out.shape))
        return None

    def _joined(self, items: Any) -> Mark | None:
        marks = [self._of(x) for x in items]
        first = marks[0]
        parts = {m.parts for m in marks if isinstance(m, Signal)}
        if not isinstance(first, Signal) or len(parts) < len(marks):
            return None
        same = all(isinstance(m, Signal) and m.names == first.names for m in marks)
        return Gathered(first.names, tuple(items[0].shape)) if same else None

    def _steps(self, name: str, args: Any) -> Mark | list[Mark] | None:
        """Time steps of the input, x[t] or x[:, t]."""
        index, dim = (None, 0) if name == "unbind" else (args[1], 0)
        if name == "unbind":
            dim = args[1] if len(args) > 1 else 0
        elif name == "select":
            dim, index = args[1], args[2]
        elif isinstance(index, tuple) and len(index) == 2 and index[0] == slice(None):
            dim, index = 1, index[1]
        if dim not in (0, 1) or not isinstance(index, int | type(None)):
            return None
        self.indexed.add(True)
        whole = list(self.example.shape)
        steps = whole.pop(dim)
        self.wiring.input_shape = tuple(whole[1:])
        signals: list[Mark] = [
            Signal(frozenset([("input", (self.number, t))])) for t in range(steps)
        ]
        return signals if index is None else signals[index]

    def _function(self, module: nn.Module, mark: Signal, x: Tensor, out: Tensor) -> Mark:
        """Add a node for a function."""
        moment = max(moment for _, moment in mark.parts)
        if self.path and type(self.path[-1][1]) is type(module):
            name = self.path[-1][0]
        else:
            key = (str(module), mark.names)
            name = self.functions.setdefault(
                key, f"{type(module).__name__.lower()}_{len(self.functions)}"
            )
        self._node(name, module, mark, moment, x, out)
        found = self._of(out)
        assert found is not None
        return found


def _unchanged(name: str, x: Tensor, out: Tensor) -> bool:
    """Whether a function gives its argument."""
    same = name in _SAME or (name in _RESHAPES and x.shape == out.shape)
    return same or ("dropout" in name and torch.equal(x, out))


def is_node(module: nn.Module) -> bool:
    """Whether a module is a node of the graph."""
    return isinstance(module, (*LAYERS, snntorch.SpikingNeuron))


def _check_hooks(name: str, module: nn.Module) -> None:
    hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
    for hook in hooks:
        home = getattr(hook, "__module__", type(hook).__module__)
        if not isinstance(hook, Hook) and not home.startswith("torch.nn.utils"):
            raise ValueError(f"module '{name}' has a forward hook: remove it before the export")


def tensors(value: Any) -> Iterator[Tensor]:
    """Yield all tensors in nested tuples, lists and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from tensors(list(value.values()))
    elif isinstance(value, tuple | list):
        for item in value:
            yield from tensors(item)


def _module_of(name: str, args: Any, kwargs: Any, out: Tensor) -> nn.Module | None:
    """Return the module that does the same as a function, or None."""
    x, rest = args[0], args[1:]
    shape = x.shape
    if name in _RESHAPES and out.shape == (shape[0], x[0].numel()):
        return nn.Flatten()
    if name == "mean":
        dims = rest[0] if rest else kwargs.get("dim")
        maps = x.dim() == 4 and isinstance(dims, tuple | list) and {d % 4 for d in dims} == {2, 3}
        return nn.AdaptiveAvgPool2d(1) if maps else None
    if name == "adaptive_avg_pool2d":
        return nn.AdaptiveAvgPool2d(tuple(out.shape[2:]))
    if name == "avg_pool2d":
        return nn.AvgPool2d(*rest, **kwargs)
    if name in ("max_pool2d", "_max_pool2d", "boolean_dispatch"):
        names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
        return nn.MaxPool2d(**(dict(zip(names, rest, strict=False)) | kwargs))
    return None
