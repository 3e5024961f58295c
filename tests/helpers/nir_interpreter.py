"""An interpreter of NIR graphs in plain torch, independent of what writes them."""

from __future__ import annotations

from collections.abc import Callable
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import nir
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

SPIKING = ("LIF", "IF", "CubaLIF", "Threshold")


class Interpreter:
    """Executes a graph from a file; neurons take Euler steps of `dt`, by the equations of NIR.

    In a cycle, spikes arrive one step later.
    """

    def __init__(self, path: Path) -> None:
        graph = nir.read(path)
        self.nodes, self.dt = graph.nodes, float(graph.metadata["dt"])
        self.steps = int(graph.metadata.get("time_steps", 0))
        self.sources: dict[str, list[str]] = {name: [] for name in self.nodes}
        for before, name in graph.edges:
            self.sources[name].append(before)
        assert [name for name, before in self.sources.items() if not before] == ["input"]
        late = {
            (before, name)
            for before, name in graph.edges
            if type(self.nodes[before]).__name__ in SPIKING and before in self._reached(name)
        }
        self.late = late
        prompt = {
            name: [before for before in sources if (before, name) not in late]
            for name, sources in self.sources.items()
        }
        self.order = list(TopologicalSorter(prompt).static_order())

    def _reached(self, start: str) -> set[str]:
        """All nodes that can be reached from a node."""
        found, left = set(), [start]
        while left:
            one = left.pop()
            new = [n for n, sources in self.sources.items() if one in sources and n not in found]
            found.update(new)
            left += new
        return found

    def run(self, inputs: Tensor, steps: int = 0) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean of the output, and the outputs [T, B, ...] of each node.

        The inputs are [T or 1, B, ...].
        """
        state: dict[str, Tensor] = {}
        outputs: dict[str, list[Tensor]] = {name: [] for name in self.order}
        for t in range(steps or self.steps):
            x = inputs[t if len(inputs) > 1 else 0].double()
            for name in self.order:
                read = [
                    self._late(outputs[before], x)
                    if (before, name) in self.late
                    else outputs[before][t]
                    for before in self.sources[name]
                ] or [x]
                whole = [part for part in read if part.dim()]
                assert all(part.shape == whole[0].shape for part in whole)
                node = self.nodes[name]
                if not whole:  # before the first spike
                    shape = [int(n) for n in node.input_type["input"]]
                    read = [torch.zeros(len(x), *shape, dtype=torch.double)]
                outputs[name].append(self._node(name, node, sum(read), state))
        stacked = {name: torch.stack(values) for name, values in outputs.items()}
        return stacked["output"].mean(0), stacked

    @staticmethod
    def _late(values: list[Tensor], x: Tensor) -> Tensor:
        return values[-1] if values else torch.zeros((), dtype=x.dtype)

    def _node(self, name: str, node: Any, x: Any, state: dict[str, Tensor]) -> Tensor:
        kind = type(node).__name__
        if kind in ("Input", "Output"):
            assert tuple(x.shape[1:]) == tuple(node.input_type["input"])
            return x
        if kind in _STATELESS:
            return _STATELESS[kind](node, x)
        v = state.get(name, torch.zeros_like(x))
        if kind == "CubaLIF":  # the current first
            current = state.get(f"{name}.current", torch.zeros_like(x))
            slope = (as_double(node.w_in) * x - current) / as_double(node.tau_syn)
            x = current + self.dt * slope
            state[f"{name}.current"] = x
        if kind in ("I", "IF"):
            slope = as_double(node.r) * x
        else:
            assert kind in ("LI", "LIF", "CubaLIF"), kind
            tau = as_double(node.tau_mem if kind == "CubaLIF" else node.tau)
            slope = (as_double(node.v_leak) - v + as_double(node.r) * x) / tau
        v = v + self.dt * slope
        if kind in ("I", "LI"):
            state[name] = v
            return v
        fired = v > as_double(node.v_threshold)
        state[name] = torch.where(fired, as_double(node.v_reset), v)
        return fired.double()


def _conv2d(node: Any, x: Tensor) -> Tensor:
    weight, bias = as_double(node.weight), as_double(node.bias)
    options = [_ints(value) for value in (node.stride, node.padding, node.dilation)]
    return functional.conv2d(x, weight, bias, *options, int(node.groups))


def _flatten(node: Any, x: Tensor) -> Tensor:
    assert (int(node.start_dim), int(node.end_dim)) == (0, -1)
    return x.flatten(1)


def _avg_pool(node: Any, x: Tensor) -> Tensor:
    return functional.avg_pool2d(x, *map(_ints, (node.kernel_size, node.stride, node.padding)))


def _sum_pool(node: Any, x: Tensor) -> Tensor:
    height, width = map(int, node.kernel_size)
    return _avg_pool(node, x) * height * width


_STATELESS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "Conv2d": _conv2d,
    "Flatten": _flatten,
    "AvgPool2d": _avg_pool,
    "SumPool2d": _sum_pool,
    "Affine": lambda node, x: x @ as_double(node.weight).T + as_double(node.bias),
    "Scale": lambda node, x: x * as_double(node.scale),
    "Threshold": lambda node, x: (x > as_double(node.threshold)).double(),
}


def as_double(array: Any) -> Tensor:
    """Return an array of a node as a tensor."""
    return torch.from_numpy(np.asarray(array, dtype=np.float64))


def _ints(value: Any) -> tuple[int, ...]:
    return tuple(map(int, value))
