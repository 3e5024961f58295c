"""Units of a network of any kind: its groups and what they own, from the labels of a pass."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from baselines.shared.groups import (
    PrunableLayer,
    Slice,
    Structure,
    UnitGroup,
    parameter_shapes,
    prunable_layers,
)
from dpap.attachment.copies import Place, at_rest, copy_of, tensors_of
from dpap.attachment.labels import LabelMode, Trace, _vector
from dpap.attachment.scores import score_handle
from dpap.attachment.surgery import Cut

Forward = Callable[[nn.Module, Any], Any]
_LAYERS = (nn.modules.conv._ConvNd, nn.Linear)
_MASKED = (
    nn.modules.conv._ConvNd,
    nn.Linear,
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
)


class Unremovable(ValueError):  # noqa: N818
    """Some units of a network cannot be removed.

    Parameters
    ----------
    layers
        Layers that produce these units.
    reason
        Why, as the end of a sentence that begins "the units of layer ... ".
    """

    def __init__(self, layers: Collection[str], reason: str) -> None:
        self.layers = tuple(layers)
        self.reason = reason
        names = " and ".join(f"'{name}'" for name in self.layers)
        ignore = ", ".join(f"'{name}'" for name in self.layers)
        super().__init__(
            f"the units of layer {names} cannot be removed, because {reason}: change that, or keep "
            f"these units with ignore=[{ignore}]"
        )


@dataclass(frozen=True)
class State:
    """A tensor that a module keeps between passes, such as a membrane.

    Parameters
    ----------
    module
        Path of the module.
    place
        Where the module keeps it.
    labels
        Labels of its elements.
    """

    module: str
    place: Place
    labels: Tensor


@dataclass(frozen=True)
class Units:
    """The unit groups of a network, and all that is needed to remove units.

    Parameters
    ----------
    structure
        Prunable layers and groups, as methods see them.
    cuts
        What each group owns: parameters, buffers and states.
    counted
        Path of each normalisation over units -> number of elements, for `cut_units`.
    roots
        Label -> (group, unit), for the elements of activities.
    trace
        The labels.
    states
        What the modules keep between passes.
    kept
        Layers whose units are kept.
    """

    structure: Structure
    cuts: tuple[Cut, ...]
    counted: Mapping[str, int]
    roots: Mapping[int, tuple[str, int]]
    trace: Trace
    states: tuple[State, ...] = ()
    kept: tuple[str, ...] = ()

    @property
    def stateful(self) -> bool:
        """Whether the network keeps something between passes."""
        return bool(self.states)


@torch.no_grad()
def trace_network(
    network: nn.Module, example: Any, forward: Forward, known: Sequence[int] = ()
) -> tuple[Trace, list[State]]:
    """Trace two passes in evaluation mode; the second one sees the states of the first.

    Parameters
    ----------
    network
        A copy: its states change.
    example
        Input of `forward`.
    forward
        Runs the network.
    known
        Ties of an earlier trace of a copy of this network.

    Returns
    -------
    tuple
        The labels, and the states that the passes leave.
    """
    called = _called_in_training(network, example, forward)
    mode = LabelMode(network, known)
    network.eval()
    at_rest(network)
    with _following(network, mode):
        for _ in range(2):
            mode.trace.inputs.clear()
            mode.trace.outputs.clear()
            forward(network, example)
    if called - mode.trace.inputs.keys():
        _trace_training(network, mode.trace, example, forward)
    states = []
    for path, module in network.named_modules():
        for place, tensor in tensors_of(module):
            labels = mode.labels(tensor) if tensor.numel() > 1 else None
            name = f"{path}.{place[0]}" if path else place[0]
            if labels is not None and bool(labels.any()) and name not in mode.trace.elements:
                states.append(State(path, place, labels.clone()))
    return mode.trace, states


def _called_in_training(network: nn.Module, example: Any, forward: Forward) -> set[str]:
    """Layers that run in training mode; none if the example cannot be trained on."""
    copy, called = copy_of(network).train(), set[str]()
    at_rest(copy)
    for name, module in copy.named_modules():
        if isinstance(module, _LAYERS):
            module.register_forward_pre_hook(lambda _, __, name=name: called.add(name))
    with contextlib.suppress(Exception):  # batch norm needs more than one value per channel
        forward(copy, example)
    return called


def _trace_training(network: nn.Module, trace: Trace, example: Any, forward: Forward) -> None:
    """Add what layers read that run in training mode only, such as auxiliary readouts."""
    copy = copy_of(network).train()
    at_rest(copy)
    mode = LabelMode(copy)
    mode.trace = trace
    inputs, outputs = dict(trace.inputs), dict(trace.outputs)
    trace.inputs.clear()
    trace.outputs.clear()
    with _following(copy, mode):
        forward(copy, example)
    trace.inputs.update(inputs)
    trace.outputs.update(outputs)
    trace.training = True


@contextlib.contextmanager
def _following(network: nn.Module, mode: LabelMode) -> Iterator[None]:
    """Follow labels through the passes inside the context."""
    removes = []
    for name, module in network.named_modules():
        enter = partial(_enter, mode, name)
        removes.append(module.register_forward_pre_hook(enter, with_kwargs=True).remove)
        leave = partial(_leave, mode, name)
        removes.append(module.register_forward_hook(leave, always_call=True).remove)
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    # Fused attention and recurrent layers would hide their parts.
    math = torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)
    fused = torch.backends.mkldnn.set_flags(False)[0]
    try:
        with math, mode:
            yield
    finally:
        torch.backends.mkldnn.set_flags(fused)
        torch.backends.mha.set_fastpath_enabled(fast)
        for remove in removes:
            remove()


def _enter(mode: LabelMode, name: str, module: nn.Module, args: Any, kwargs: Any) -> None:
    mode.calling.append((name, module))
    given = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]
    if given and isinstance(module, _LAYERS):
        labels = mode.labels(given[0])
        none = torch.zeros(given[0].shape, dtype=torch.long)
        mode.trace.inputs.setdefault(name, []).append(none if labels is None else labels.clone())


def _leave(mode: LabelMode, name: str, module: nn.Module, args: Any, output: Any) -> None:
    if mode.calling:
        mode.calling.pop()
    first = next((x for x in _flat(output) if isinstance(x, Tensor)), None)
    if first is not None:
        labels = mode.labels(first)
        if labels is not None:
            mode.trace.outputs.setdefault(name, []).append(labels.clone())


def _flat(value: Any) -> list[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, tuple | list):
        return [x for item in value for x in _flat(item)]
    return [value]


def not_called(layer: str) -> str:
    """Message about a layer that the forward pass does not call."""
    return (
        f"layer '{layer}' is not called in the forward pass of the example: call it, remove it, or "
        f"pass ignore=['{layer}']"
    )


def find_units(  # noqa: C901
    network: nn.Module, trace: Trace, states: Sequence[State], kept: Collection[str]
) -> Units:
    """Find the unit groups of a traced network.

    Parameters
    ----------
    network
        The network.
    trace, states
        From `trace_network`.
    kept
        Layers whose outputs are never removed: readouts, and layers that the user keeps.

    Raises
    ------
    Unremovable
        If units cannot be removed one by one.
    ValueError
        If a layer was not called.
    """
    layers = prunable_layers(network, "")
    roots = trace.ties.roots
    outputs: dict[str, Tensor] = {}
    for layer in layers:
        key = (layer.weight, 1 if layer.transposed else 0)
        if layer.name not in trace.inputs and layer.name not in kept:
            raise ValueError(not_called(layer.name))
        if key not in trace.axes and layer.name not in kept:
            raise ValueError(
                f"the weight of layer '{layer.name}' is changed before it is used: pass "
                f"ignore=['{layer.name}']"
            )
        if key in trace.axes:
            outputs[layer.name] = roots(trace.axes[key])
    components = _components(outputs)
    fixed = {x for name in kept if name in outputs for x in outputs[name].tolist()}
    blocked = {
        label: obstacle.reason
        for obstacle in trace.obstacles
        for label in roots(obstacle.labels).tolist()
    }
    groups: list[UnitGroup] = []
    cuts: list[Cut] = []
    places: dict[int, tuple[str, int]] = {}
    for names in components:
        order = list(dict.fromkeys(x for name in names for x in outputs[name].tolist()))
        if fixed & set(order) or sum(len(outputs[name]) for name in names) < 2:
            continue
        for label in order:
            if label in blocked:
                raise Unremovable(names, f"they pass through {blocked[label]}")
        if len(order) < 2:
            raise Unremovable(names, "all of them are tied to each other")
        unit_of = {label: unit for unit, label in enumerate(order)}
        members = {name: _positions(outputs[name], unit_of, names) for name in names}
        found = _owned(network, trace, states, names, unit_of)
        slices = tuple(
            Slice(_name(cut), cut.dim, cut.index) for cut in found if _maskable(network, cut, trace)
        )
        plain = torch.arange(len(order)).unsqueeze(1)
        odd = {name: index for name, index in members.items() if not torch.equal(index, plain)}
        group = UnitGroup(names[0], len(order), names, slices, members=odd)
        groups.append(replace(group, handle=score_handle(network, group)))
        cuts += [replace(cut, group=names[0]) for cut in found]
        places |= {label: (names[0], unit) for label, unit in unit_of.items()}
    owned = {name for group in groups for name in group.producers}
    prunable = tuple(layer for layer in layers if layer.name in owned)
    if not groups:
        raise ValueError("there is nothing to prune: no layer has units that may be removed")
    structure = Structure(prunable, parameter_shapes(network), tuple(groups))
    modules = dict(network.named_modules())
    counted = {path: _dense(modules[path], trace, path) for path in trace.counted}
    return Units(structure, tuple(cuts), counted, places, trace, tuple(states), tuple(kept))


def _components(outputs: Mapping[str, Tensor]) -> list[tuple[str, ...]]:
    """Layers that share units, in the order of the network."""
    component: dict[str, int] = {}
    owner: dict[int, int] = {}
    for number, (name, labels) in enumerate(outputs.items()):
        shared = {owner[x] for x in labels.tolist() if x in owner}
        component[name] = min(shared, default=number)
        for other, value in component.items():
            component[other] = component[name] if value in shared else value
        owner = {x: component[name] if v in shared else v for x, v in owner.items()}
        owner |= dict.fromkeys(labels.tolist(), component[name])
    numbers = sorted(set(component.values()))
    return [tuple(n for n, value in component.items() if value == number) for number in numbers]


def _positions(labels: Tensor, unit_of: Mapping[int, int], names: tuple[str, ...]) -> Tensor:
    """Positions of each unit along an axis, [units, k]; k is 0 if the axis has none of them."""
    owned: list[list[int]] = [[] for _ in unit_of]
    for position, label in enumerate(labels.tolist()):
        if label in unit_of:
            owned[unit_of[label]].append(position)
    if len({len(x) for x in owned}) > 1:
        raise Unremovable(
            names, "some of them own other parts of a weight than the rest, as after a slice"
        )
    return torch.tensor(owned, dtype=torch.long).view(len(owned), -1)


def _owned(
    network: nn.Module,
    trace: Trace,
    states: Sequence[State],
    names: tuple[str, ...],
    unit_of: Mapping[int, int],
) -> list[Cut]:
    """All that the units of a group own: axes of weights, other parameters, buffers and states."""
    found: list[Cut] = []
    for (parameter, dim), labels in trace.axes.items():
        index = _positions(trace.ties.roots(labels), unit_of, names)
        if index.numel():
            path, _, key = parameter.rpartition(".")
            found.append(Cut(path, (key, ()), dim, len(labels), "", index))
    ours = torch.tensor(list(unit_of))
    others = [(*_split(name), labels) for name, labels in trace.elements.items()]
    others += [(state.module, state.place, state.labels) for state in states]
    for path, place, labels in others:
        roots = trace.ties.roots(labels)
        if not bool(torch.isin(roots, ours).any()):
            continue
        lines = [(dim, _vector(roots, dim)) for dim in range(roots.dim()) if roots.shape[dim] > 1]
        line = next(((d, v) for d, v in lines if v is not None and len(v.unique()) > 1), None)
        if line is None:
            what = f"'{path}.{place[0]}'" if path else f"'{place[0]}'"
            raise Unremovable(names, f"they own parts of {what} along no dimension of their own")
        index = _positions(line[1], unit_of, names)
        found.append(Cut(path, place, line[0], len(line[1]), "", index))
    return found


def _split(name: str) -> tuple[str, Place]:
    path, _, key = name.rpartition(".")
    return path, (key, ())


def _name(cut: Cut) -> str:
    return f"{cut.module}.{cut.place[0]}" if cut.module else cut.place[0]


def _maskable(network: nn.Module, cut: Cut, trace: Trace) -> bool:
    """Whether a mask may set these entries to zero: a threshold or a leak must stay."""
    module = network.get_submodule(cut.module)
    if cut.place[0] not in module._parameters:
        return False
    return isinstance(module, _MASKED) or _name(cut) not in trace.unmaskable


def _dense(module: nn.Module, trace: Trace, path: str) -> int:
    if isinstance(module, nn.LayerNorm):
        return int(torch.tensor(module.normalized_shape).prod())
    assert isinstance(module, nn.GroupNorm)
    return module.num_channels


def tie_parts(trace: Trace, layers: Collection[str], whole: bool) -> bool:
    """Tie what corresponds in the parts into which the network divides the units of layers.

    Parameters
    ----------
    trace
        Changed in place.
    layers
        The layers whose units cannot be removed one by one.
    whole
        Tie all units of a part (True), or the units at the same place of all parts.

    Returns
    -------
    bool
        Whether anything was tied.
    """
    axes = [trace.axes[key] for key in trace.axes if key[0].removesuffix(".weight") in layers]
    units = trace.ties.roots(torch.cat(axes)) if axes else torch.zeros(0, dtype=torch.long)
    tied = False
    for parts in trace.splits:
        roots = trace.ties.roots(parts)
        if bool(torch.isin(roots, units).any()):
            first = roots[:, :1] if whole else roots[:1]
            trace.ties.tie(first.expand_as(roots), roots)
            tied = True
    return tied


__all__ = ["PrunableLayer", "State", "Units", "Unremovable", "find_units", "trace_network"]
