"""A user's own network, dense or compacted, as a graph of NIR.

The graph gives what the network gives: the same spikes at every step, if each step is an Euler step
of `dpap.export.nodes.DT` seconds, in which a node reads what the nodes before it gave in the same
step, and spikes in a cycle what they were in the last step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import snntorch
import torch
from torch import Tensor, nn

from dpap.attachment.copies import at_rest, copy_of
from dpap.attachment.proof import quiet
from dpap.export.affine import affine, gain_and_shift
from dpap.export.neurons import neurons
from dpap.export.nodes import DT, Shape, array, nir, pair, pooled_shape, weights_node
from dpap.export.wiring import Node, Wiring, find_wiring

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def _call(network: nn.Module, example: Any) -> Any:
    return network(example)


@torch.no_grad()
def to_nir(
    network: nn.Module,
    example: Tensor,
    forward: Callable[[nn.Module, Any], Any] = _call,
) -> Any:
    """Build the NIR graph of a network of snnTorch neurons.

    Layers are ``Affine`` and ``Conv2d``, with batch norm folded in; pooling, flattening and the
    neurons `Leaky`, `RLeaky`, `Synaptic`, `RSynaptic` and `Lapicque` have nodes, and additions are
    edges. The network itself does not change.

    Parameters
    ----------
    network
        The network, before or after ``compact``.
    example
        One input, [B, ...].
    forward
        Runs the network on the example, for one time step or for all. Give it if
        ``network(example)`` does not. Its first output is that of the graph.

    Returns
    -------
    nir.NIRGraph
        ``nir.write(path, graph)`` writes it. Its metadata has ``dt``, the seconds per time step.

    Raises
    ------
    ValueError
        If the package nir is not installed, or NIR cannot describe the network. The message names
        the module.

    Notes
    -----
    NIR: Pedersen et al., Nature Communications 2024, arXiv 2311.14641.
    """
    if nir is None:
        raise ValueError("the package nir is not installed: pip install nir")
    if not isinstance(example, Tensor):
        raise ValueError("NIR networks of one input only can be exported: give a tensor as example")
    network = getattr(network, "_orig_mod", network)
    if isinstance(network, nn.parallel.DistributedDataParallel | nn.DataParallel):
        network = network.module
    copy = copy_of(network)
    at_rest(copy)
    with quiet(copy):
        wiring = find_wiring(copy, example, forward)
    return _Builder(wiring).graph()


def _refuse(name: str, reason: str) -> ValueError:
    return ValueError(f"NIR cannot describe module '{name}': {reason}")


@dataclass
class _Builder:
    """Collects the nodes and edges of a graph; `ends` gives the last node of each module."""

    wiring: Wiring
    nodes: dict[str, Any] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    ends: dict[str, str] = field(default_factory=dict)

    def graph(self) -> Any:
        """Build the graph."""
        wiring = self.wiring
        self.nodes["input"] = nir.Input(np.array(wiring.input_shape))
        self.ends["input"] = "input"
        readers: dict[str, list[str]] = {name: [] for name in wiring.nodes}
        for name, node in wiring.nodes.items():
            for source in node.sources:
                readers.setdefault(source, []).append(name)
        for name in wiring.output:
            readers.setdefault(name, []).append("output")
        folded: set[str] = set()
        for name, node in wiring.nodes.items():
            norm = self._norm_after(name, readers)
            if norm:
                folded.add(norm)
            if name in folded:
                self.ends[name] = self.ends[node.sources[0]]
            else:
                self._add(name, node, wiring.nodes[norm].module if norm else nn.Identity())
        self._link("output", nir.Output(np.array(wiring.output_shape)), wiring.output)
        metadata = {"dt": DT, "output": "one value per time step"}
        return nir.NIRGraph(self.nodes, self.edges, metadata)

    def _norm_after(self, name: str, readers: Mapping[str, list[str]]) -> str | None:
        """The batch norm that can be folded into a layer."""
        if not isinstance(self.wiring.nodes[name].module, nn.Linear | nn.Conv2d):
            return None
        if len(readers[name]) != 1 or readers[name] == ["output"]:
            return None
        norm = self.wiring.nodes[readers[name][0]]
        single = norm.sources == (name,) and isinstance(norm.module, NORMS)
        return readers[name][0] if single and _has_statistics(norm.module) else None

    def _link(self, name: str, node: Any, sources: tuple[str, ...]) -> None:
        self.nodes[name] = node
        self.edges += [(self.ends[source], name) for source in sources]
        self.ends[name] = name

    def _add(self, name: str, node: Node, norm: nn.Module) -> None:
        module, given = node.module, node.given
        kind = type(module)
        if nn.utils.parametrize.is_parametrized(module):
            kind = kind.__mro__[1]
        if kind in (nn.Linear, nn.Conv2d):
            self._link(name, _weights(name, module, norm, given), node.sources)
        elif kind in NORMS:
            self._link(name, _norm(name, module, given), node.sources)
        elif isinstance(module, nn.Flatten):
            self._link(name, nir.Flatten(np.array(given), 0, -1), node.sources)
        elif kind in (nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.MaxPool2d):
            self._pool(name, node)
        elif isinstance(module, snntorch.SpikingNeuron):
            piece = neurons(name, module, given)
            self.nodes |= piece.nodes
            self.edges += piece.edges
            self.edges += [(self.ends[source], piece.entry) for source in node.sources]
            self.ends[name] = piece.end
        else:
            raise _refuse(name, f"there is no node for {kind.__name__}")

    def _pool(self, name: str, node: Node) -> None:
        module, given = node.module, node.given
        if len(given) != 3:
            raise _refuse(name, f"pooling needs maps [C, H, W], not {list(given)}")
        kernel, stride, padding = _window(name, module, given)
        shape = pooled_shape(given, kernel, stride, padding)
        kind: Any = nir.SumPool2d if isinstance(module, nn.MaxPool2d) else nir.AvgPool2d
        if not isinstance(module, nn.MaxPool2d):
            self._link(name, kind(kernel, stride, padding), node.sources)
        elif not self._spikes(node.sources):
            raise _refuse(name, "NIR has a maximum of spikes only, not of currents or sums")
        else:
            self._link(f"{name}_sum", kind(kernel, stride, padding), node.sources)
            self._link(name, nir.Threshold(np.full(shape, 0.5)), (f"{name}_sum",))
        if node.shape == shape[:1]:
            self._link(f"{name}_flat", nir.Flatten(np.array(shape), 0, -1), (name,))
            self.ends[name] = f"{name}_flat"
        elif node.shape != shape:
            raise _refuse(name, "its windows do not fit the map")

    def _spikes(self, sources: tuple[str, ...]) -> bool:
        """Whether a signal is spikes of neurons, 0 or 1."""
        if len(sources) != 1 or sources[0] not in self.wiring.nodes:
            return False
        node = self.wiring.nodes[sources[0]]
        if isinstance(node.module, nn.Flatten):
            return self._spikes(node.sources)
        return isinstance(node.module, snntorch.SpikingNeuron | nn.MaxPool2d)


def _weights(name: str, module: Any, norm: nn.Module, shape: Shape) -> Any:
    padding = None
    if isinstance(module, nn.Conv2d):
        if module.padding_mode != "zeros":
            raise _refuse(name, f"there is no padding of mode {module.padding_mode}")
        if isinstance(module.padding, str):
            wanted = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
            if module.padding == "same" and any(n % 2 for n in wanted):
                raise _refuse(name, "its padding is not the same on both sides")
            padding = tuple(n // 2 if module.padding == "same" else 0 for n in wanted)
    elif len(shape) != 1:
        raise _refuse(name, f"a linear layer needs vectors, not inputs of shape {list(shape)}")
    weight, bias = affine(module, norm)
    return weights_node(module, weight, bias, shape, padding)


def _has_statistics(module: nn.Module) -> bool:
    return getattr(module, "running_mean", None) is not None


def _norm(name: str, module: Any, shape: Shape) -> Any:
    """Batch norm that is not behind a layer, as weights of each channel."""
    if not _has_statistics(module):
        raise _refuse(name, "it has no running statistics")
    gain, shift = gain_and_shift(module)
    if len(shape) == 1:
        return nir.Affine(weight=array(torch.diag(gain)), bias=array(shift))
    if len(shape) != 3:
        raise _refuse(name, f"batch norm needs [C] or [C, H, W], not {list(shape)}")
    weight = array(torch.diag(gain)[:, :, None, None])
    return nir.Conv2d(shape[1:], weight, (1, 1), (0, 0), (1, 1), 1, array(shift))


def _window(name: str, module: Any, shape: Shape) -> tuple[Any, Any, Any]:
    """Kernel, stride and padding of pooling."""
    if isinstance(module, nn.AdaptiveAvgPool2d):
        wanted: Any = module.output_size
        wanted = (wanted, wanted) if isinstance(wanted, int) else wanted
        kernel = np.array(
            [n if w is None else n // w for n, w in zip(shape[1:], wanted, strict=True)]
        )
        return kernel, kernel, np.zeros(2, dtype=int)
    padding = pair(module.padding)
    odd = module.ceil_mode or getattr(module, "dilation", 1) not in (1, (1, 1))
    odd = odd or getattr(module, "divisor_override", None) is not None
    if odd or (bool(padding.any()) and not getattr(module, "count_include_pad", True)):
        raise _refuse(name, "NIR has no pooling with these options")
    kernel = pair(module.kernel_size)
    return kernel, kernel if module.stride is None else pair(module.stride), padding
