"""The proof at attach: on a copy, random units die; the compacted copy equals the masked one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import snntorch
import torch
from torch import Tensor, nn

from dpap.attachment.copies import at_rest, copy_of
from dpap.attachment.labels import Trace
from dpap.attachment.surgery import cut_units
from dpap.attachment.units import (
    Forward,
    State,
    Units,
    Unremovable,
    find_units,
    tie_parts,
    trace_network,
)

#: Largest difference between the two networks, relative to the norm of a layer's outputs.
TOLERANCE = 1e-3
PASSES = 3


@dataclass(frozen=True)
class Failure:
    """Why a compacted copy is not the masked one.

    Parameters
    ----------
    reason
        As the end of a sentence that begins "the units cannot be removed, because ...".
    rounding
        Whether rounding may be the cause.
    """

    reason: str
    rounding: bool = False


def proven_units(
    network: nn.Module, example: Any, forward: Forward, kept: tuple[str, ...]
) -> Units:
    """Find the unit groups of a network, and prove on a copy that units can be removed.

    If the network divides an axis of units into parts (heads, halves of a channel shuffle), units
    that correspond are tied, and the proof is tried again.

    Parameters
    ----------
    network
        Any network; it does not change.
    example
        Input of `forward`.
    forward
        Runs the network.
    kept
        Layers whose outputs are never removed.

    Raises
    ------
    Unremovable
        If units cannot be removed.
    ValueError
        If the network does not run on the example.
    """
    with quiet(network):
        copy, trace, states = _first_trace(network, example, forward)
        first, known = trace, list(trace.ties.parents)
        tried: dict[tuple[str, ...], bool] = {}  # group -> whether all units of a part are tied
        refused: Unremovable | None = None
        while True:
            try:
                units = find_units(copy, trace, states, kept)
                failing = failures(copy, units, example, forward)
            except Unremovable as error:
                refused, names = refused or error, [error.layers]
            else:
                if not failing:
                    return find_units(network, trace, states, kept)
                names = [g.producers for g in units.structure.groups if g.name in failing]
                layers = [layer for group in names for layer in group]
                refused = refused or Unremovable(layers, _reason(units, failing))
            if not _tied_anew(first, known, tried, names):
                raise refused
            copy = copy_of(network)
            trace, states = trace_network(copy, example, forward, first.ties.parents)


def _reason(units: Units, failing: Mapping[str, Failure]) -> str:
    """Why the units of failing groups cannot be removed: the operation, or what is different."""
    for doubt in units.trace.doubts:
        labels = units.trace.ties.roots(doubt.labels).tolist()
        if any(units.roots[label][0] in failing for label in labels if label in units.roots):
            return f"they pass through {doubt.reason}"
    return next(iter(failing.values())).reason


def _first_trace(
    network: nn.Module, example: Any, forward: Forward
) -> tuple[nn.Module, Trace, list[State]]:
    try:
        copy = copy_of(network)
    except Exception as error:
        raise ValueError(
            f"the network cannot be copied ({_short(error)}): remove from its attributes what "
            "copy.deepcopy does not accept"
        ) from error
    try:
        return copy, *trace_network(copy, example, forward)
    except Exception as error:
        raise ValueError(
            f"the network does not run on the example ({_short(error)}): give an input that it "
            "accepts, or the argument forward"
        ) from error


def _tied_anew(
    trace: Trace,
    known: Sequence[int],
    tried: dict[tuple[str, ...], bool],
    failing: Sequence[tuple[str, ...]],
) -> bool:
    """Tie the units of failing groups more tightly than before; False if all was tried.

    At first what corresponds in the parts of an axis is tied, then all units of a part.
    """
    for group in failing:
        older = [layers for layers in tried if set(layers) & set(group)]
        if any(tried[layers] for layers in older):
            return False
        for layers in older:
            del tried[layers]
        tried[tuple(dict.fromkeys(x for part in (*older, group) for x in part))] = bool(older)
    trace.ties.restore(known)
    tied = [tie_parts(trace, layers, whole) for layers, whole in tried.items()]
    return all(tied)


def failures(
    network: nn.Module, units: Units, example: Any, forward: Forward
) -> dict[str, Failure]:
    """Return the groups whose units cannot be removed: name -> why.

    Several sets of units die: each unit once, one alone, and all but one. Rounding may flip a
    spike, so outputs must differ with two sets of weights before they count as different.
    """
    draws = [torch.Generator().manual_seed(seed) for seed in range(2)]
    bases = [copy_of(network) for _ in draws]
    for base, draw in zip(bases, draws, strict=True):
        _disturb(base, draw)
    groups = units.structure.groups
    sets = [{g.name: _survivors(g.size, share, draws[1]) for g in groups} for share in (0.6, 0, 1)]
    sets.append({name: ~one for name, one in sets[0].items()})

    def failure(kept: Mapping[str, Tensor]) -> Failure | None:
        first = _compare(bases[0], units, kept, example, forward)
        if first is None or not first.rounding:
            return first
        return _compare(bases[1], units, kept, example, forward)

    for kept in sets:
        whole = failure(kept)
        if whole is None:
            continue
        alone = {name: failure({name: one}) for name, one in kept.items()}
        return {n: f for n, f in alone.items() if f is not None} or {groups[0].name: whole}
    return {}


def _survivors(size: int, share: float, generator: torch.Generator) -> Tensor:
    """About this share of the units, at least one, and not all of them."""
    kept = torch.rand(size, generator=generator) < share
    first, second = torch.randperm(size, generator=generator)[:2].tolist()
    kept[first], kept[second] = True, False
    return kept


def _compare(
    base: nn.Module, units: Units, kept: Mapping[str, Tensor], example: Any, forward: Forward
) -> Failure | None:
    whole = {g.name: torch.ones(g.size, dtype=torch.bool) for g in units.structure.groups}
    masked = copy_of(base)
    units.structure.masks(whole | dict(kept)).project(masked)
    compacted = copy_of(masked)
    wanted = _outputs(masked, example, forward)
    try:
        cut_units(compacted, units.cuts, units.counted, kept)
        found = _outputs(compacted, example, forward)
        if units.trace.training:
            forward(compacted.train(), example)
    except Exception as error:
        return Failure(f"the network does not run without some of them ({_short(error)})")
    if [name for name, _ in wanted] != [name for name, _ in found]:
        return Failure("the network takes another path without some of them")
    precision = [torch.finfo(p.dtype).eps for p in base.parameters() if p.is_floating_point()]
    tolerance = max(TOLERANCE, 4 * max(precision))
    for (name, dense), (_, after) in zip(wanted, found, strict=True):
        same = dense.shape == after.shape
        before = dense if same else _part(units, name, dense, after, kept)
        if before is None or before.shape != after.shape:
            continue
        scale = max(float(before.norm()), 1e-6)
        if not float((before - after).norm()) <= tolerance * scale:
            where = f"the outputs of layer '{name}'" if name else "the outputs of the network"
            return Failure(f"{where} would change", rounding=True)
    return None


def _part(
    units: Units, name: str, before: Tensor, after: Tensor, kept: Mapping[str, Tensor]
) -> Tensor | None:
    """The part of a dense output that the compacted layer still has; None if not known."""
    dims = [d for d in range(before.dim()) if before.shape[d] != after.shape[d]]
    if len(dims) != 1 or before.dim() != after.dim():
        return None
    for group in units.structure.groups:
        if name in group.producers and group.name in kept:
            outputs = group.of_outputs(name, kept[group.name].float()) > 0
            if len(outputs) == before.shape[dims[0]]:
                return before.index_select(dims[0], outputs.nonzero().flatten())
            groups = before.shape[dims[0]] // len(outputs)  # of a transposed convolution
            return before.index_select(dims[0], outputs.repeat(groups).nonzero().flatten())
    return None


@torch.no_grad()
def _outputs(network: nn.Module, example: Any, forward: Forward) -> list[tuple[str, Tensor]]:
    """Outputs of all layers and of the network, in several passes, in float64."""
    found: list[tuple[str, Tensor]] = []

    def note(name: str, module: nn.Module, arguments: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            found.append((name, output.detach().cpu().double()))

    network.eval()
    at_rest(network)
    with contextlib.ExitStack() as stack:
        for name, module in network.named_modules():
            if isinstance(module, nn.modules.conv._ConvNd | nn.Linear):
                stack.callback(module.register_forward_hook(partial(note, name)).remove)
        torch.manual_seed(0)  # inputs may be coded at random
        for _ in range(PASSES):
            found += [("", x.detach().cpu().double()) for x in _tensors(forward(network, example))]
    return found


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _tensors(item)


@torch.no_grad()
def _disturb(network: nn.Module, generator: torch.Generator) -> None:
    """Random values, so that every layer's activity matters: fresh networks are often silent."""

    def draw(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator).to(like)

    for module in network.modules():
        _disturb_statistics(module, draw)
        for key, parameter in module._parameters.items():
            if parameter is None or not parameter.is_floating_point():
                continue
            if isinstance(module, nn.modules.conv._ConvNd | nn.Linear) and key == "weight":
                fan = max(1, parameter[0].numel())
                parameter.copy_(1.5 * draw(parameter) / fan**0.5)
            else:
                parameter.add_(0.2 * draw(parameter) * (1 if key == "bias" else parameter.abs()))


def _disturb_statistics(module: nn.Module, draw: Callable[[Tensor], Tensor]) -> None:
    """Move the means of batch norm, and lower the thresholds of snnTorch's neurons."""
    if isinstance(module, nn.modules.batchnorm._NormBase) and module.running_mean is not None:
        module.running_mean.add_(0.1 * draw(module.running_mean))
    threshold = getattr(module, "threshold", None)
    if isinstance(module, snntorch.SpikingNeuron) and isinstance(threshold, Tensor):
        threshold.mul_(0.3)


@contextlib.contextmanager
def quiet(network: nn.Module) -> Iterator[None]:
    """Without compilation and autocast, and with the random generators as before at the end."""
    devices = {p.device for p in network.parameters() if p.device.type == "cuda"}
    with (
        torch.random.fork_rng(devices=[d.index or 0 for d in devices]),
        torch.compiler.set_stance("force_eager"),
        torch.autocast("cpu", enabled=False),
        torch.autocast("cuda", enabled=False),
    ):
        yield


def _short(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:100]}" if text else type(error).__name__
