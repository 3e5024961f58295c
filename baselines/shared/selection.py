"""Selection: turn scores and a target density into masks.

Every method that ranks units or weights uses `select`, so that all methods count their density in
the same way. Ties are broken at random (seeded), every group keeps a minimum width, and the number
of kept units is found by bisection on the number of weights that remain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor

from baselines.shared.allocation import (
    RANKED,
    Scope,
    layer_densities,
    unit_shares,
    weights_of_units,
)
from baselines.shared.groups import Structure
from baselines.shared.lamp_scores import over_larger
from baselines.shared.masks import Masks

__all__ = ["Scope", "Selected", "random_ranks", "select", "watch_selections"]


@dataclass(frozen=True)
class Selected:
    """One call of `select`.

    Parameters
    ----------
    units, weights
        The scores that it got; empty if it got none.
    masks
        What it kept.
    """

    units: Mapping[str, Tensor]
    weights: Mapping[str, Tensor]
    masks: Masks


_watcher: ContextVar[Callable[[Selected], None] | None] = ContextVar("watcher", default=None)


@contextmanager
def watch_selections(seen: Callable[[Selected], None]) -> Iterator[None]:
    """Report every call of `select` inside the context, so that scores can be measured.

    Parameters
    ----------
    seen
        Called after each selection. It must not change the tensors.
    """
    token = _watcher.set(seen)
    try:
        yield
    finally:
        _watcher.reset(token)


def select(
    structure: Structure,
    density: float,
    generator: torch.Generator,
    *,
    units: Mapping[str, Tensor] | None = None,
    weights: Mapping[str, Tensor] | None = None,
    scope: Scope = "global",
    minimum_width: int = 1,
    exact: bool = True,
) -> Masks:
    """Keep the units and weights with the highest scores, at a target density.

    Parameters
    ----------
    structure
        The prunable layers and unit groups of the network.
    density
        Target, kept / prunable weights, in (0, 1].
    generator
        Breaks ties between equal scores.
    units
        Group name -> scores [units], for every group. Units with score inf are always kept, those
        with -inf never.
    weights
        Layer name -> scores of the weight's shape. Weights with score -inf are never kept.
    scope
        How scores of different layers, and of different groups, compare:

        - ``global``: as they are.
        - ``lamp``: each divided by the sum of the scores of its layer or group that are not
          smaller (`over_larger`).
        - ``layer-wise``: by rank, so that all layers keep the same density of weights, and all
          groups the same share of units.
        - ``erk``: by rank; layers keep the densities of `layer_densities`, and groups shares of
          units in proportion to `unit_shares`. Small layers keep more.
        - ``protect-small``: likewise, with other shares. If units and weights are selected
          together, neurons whose weights are selected are not removed, and the layers without
          selected weights keep `weights_of_units`.

        Scores of units and scores of weights never compare with each other: with every other scope,
        units and weights lose the same share.
    minimum_width
        Number of units that every group keeps.
    exact
        Matters only if units and weights are selected together. True: weights are pruned until the
        target density is met. False: weights lose the same share as units, and the density stays
        above the target by less than one unit. A method that cannot regrow passes False until its
        last selection. Otherwise each selection would prune extra weights, for good, to make up
        for a unit that is too large to remove.

    Returns
    -------
    Masks
        Masks of all parameters that the selection touches.

    Raises
    ------
    ValueError
        If the density is outside (0, 1], a score is NaN, neither `units` nor `weights` are given,
        or a score is negative and the scope is ``lamp``.
    """
    if not 0 < density <= 1:
        raise ValueError(f"density must be in (0, 1], not {density}")
    if not units and not weights:
        raise ValueError("nothing to select from: pass unit scores, weight scores or both")
    for name, scores in [*(units or {}).items(), *(weights or {}).items()]:
        if bool(scores.isnan().any()):
            raise ValueError(f"the scores of '{name}' contain NaN")
    target = round(density * structure.prunable)
    kept_units = (
        _select_units(structure, target, generator, units, weights or {}, scope, minimum_width)
        if units
        else {}
    )
    kept_weights = (
        _select_weights(structure, target, generator, kept_units, weights, scope, exact)
        if weights
        else {}
    )
    masks = structure.masks(kept_units, kept_weights)
    seen = _watcher.get()
    if seen is not None:
        seen(Selected(units or {}, weights or {}, masks))
    return masks


def random_ranks(scores: Tensor, generator: torch.Generator) -> Tensor:
    """Ranks from 0, the lowest score, upwards; equal scores are ranked at random.

    No random number is drawn if all finite scores differ.

    Parameters
    ----------
    scores
        Scores, [n].
    generator
        Orders equal scores.

    Returns
    -------
    Tensor
        The ranks, int64 [n].
    """
    order = scores.argsort(stable=True)
    finite = scores[order[scores[order].isfinite()]]
    if bool((finite[1:] == finite[:-1]).any()):
        random = torch.randperm(scores.numel(), generator=generator)
        order = random[scores[random].argsort(stable=True)]
    return torch.empty_like(order).scatter_(0, order, torch.arange(scores.numel()))


def _comparable(
    scores: Tensor, scope: Scope, generator: torch.Generator, share: float = 1.0
) -> Tensor:
    """Make scores comparable across layers; infinite scores do not change.

    Scope ``global`` returns the flattened scores, ``lamp`` normalises them. The other scopes return
    ranks within the layer, in [-1, 0), divided by `share`: a common threshold then keeps parts of
    the layers that are proportional to their shares. An infinite share keeps all that is left.
    """
    flat = scores.detach().cpu().double().flatten()
    if scope not in RANKED:
        return flat if scope == "global" else _normalised(flat)
    ranks = (random_ranks(flat, generator) / flat.numel()).double() - 1
    return torch.where(flat.isinf(), flat, ranks / share if share < torch.inf else torch.inf)


def _normalised(flat: Tensor) -> Tensor:
    """LAMP's normalisation of the finite scores; infinite scores do not change."""
    finite = flat.isfinite()
    scores = flat.clone()
    scores[finite] = over_larger(flat[finite])
    return scores


def _order(scores: Tensor, generator: torch.Generator) -> Tensor:
    """Return indices from the highest score to the lowest; ties are in random order."""
    random = torch.randperm(scores.numel(), generator=generator)
    return random[scores[random].argsort(descending=True, stable=True)]


def _smallest(count: Callable[[int], float], target: float, low: int, high: int) -> int:
    """Find the smallest k in [low, high] with count(k) >= target; `count` must not decrease."""
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if count(middle) >= target else (middle + 1, high)
    return low


def _select_units(
    structure: Structure,
    target: int,
    generator: torch.Generator,
    units: Mapping[str, Tensor],
    weights: Mapping[str, Tensor],
    scope: Scope,
    minimum_width: int,
) -> dict[str, Tensor]:
    """Choose the number of units whose remaining weights come nearest to the target.

    If single weights are selected as well, this assumes that they lose the same share as the
    units, and keeps enough units to stay just above the target. `_select_weights` then meets the
    target exactly. Under ``protect-small`` it counts only the layers that lose units alone.
    """
    separate = bool(weights) and scope == "protect-small"
    if separate:
        density = target / structure.prunable
        target = round(weights_of_units(structure, density, weights))
    shares = unit_shares(structure, scope, weights) if scope in RANKED else {}
    parts = []
    for group in structure.groups:
        share = shares.get(group.name, 1.0)
        scores = _comparable(units[group.name], scope, generator, share)
        scores[_order(scores, generator)[:minimum_width]] = torch.inf
        parts.append(scores)
    merged = torch.cat(parts)
    order = _order(merged, generator)
    alive = int((merged > -torch.inf).sum())
    connected = {name: scores.detach().cpu() > -torch.inf for name, scores in weights.items()}

    def count(k: int) -> float:
        kept = _kept(structure, order[:k])
        if separate or not weights:
            return _unscored(structure, kept, weights)
        counts = structure.count(kept)
        share = sum(counts[name] for name in weights) * k / order.numel()
        return _unscored(structure, kept, weights) + min(
            share, _connected(structure, kept, connected)
        )

    least = int((merged == torch.inf).sum())
    k = _smallest(count, target, least, alive)
    if (separate or not weights) and k > least and target - count(k - 1) < count(k) - target:
        k -= 1
    kept = _kept(structure, order[:k])
    if not weights or k == least or _unscored(structure, kept, weights) <= target:
        return kept
    return _without_last(structure, target, order[:alive], k, connected)


def _kept(structure: Structure, chosen: Tensor) -> dict[str, Tensor]:
    """Kept units by group, from the indices of the chosen units among those of all groups."""
    sizes = [group.size for group in structure.groups]
    kept = torch.zeros(sum(sizes), dtype=torch.bool)
    kept[chosen] = True
    return {g.name: part for g, part in zip(structure.groups, kept.split(sizes), strict=True)}


def _unscored(
    structure: Structure, kept: Mapping[str, Tensor], weights: Mapping[str, Tensor]
) -> int:
    """Count the weights of the kept units in layers whose single weights are not selected."""
    return sum(n for layer, n in structure.count(kept).items() if layer not in weights)


def _without_last(
    structure: Structure, target: int, order: Tensor, k: int, connected: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Leave out unit k, for which the single weights cannot make up.

    The next units are kept instead, until there are enough single weights.
    """
    chosen = order[: k - 1]
    for unit in order[k:]:
        kept = _kept(structure, chosen)
        here = _unscored(structure, kept, connected) + _connected(structure, kept, connected)
        if here >= target:
            break
        more = torch.cat([chosen, unit.view(1)])
        if _unscored(structure, _kept(structure, more), connected) <= target:
            chosen = more
    return _kept(structure, chosen)


def _connected(
    structure: Structure, kept: Mapping[str, Tensor], connected: Mapping[str, Tensor]
) -> int:
    """Count the connected weights (mask by layer name) that no removed unit owns."""
    names = {f"{name}.weight": name for name in connected}
    axes = structure.axes(kept, names)
    total = 0
    for weight, name in names.items():
        remaining = connected[name]
        for dim in (0, 1):
            if (weight, dim) in axes:
                remaining = remaining.index_select(dim, axes[weight, dim].nonzero().flatten())
        total += int(remaining.sum())
    return total


def _select_weights(
    structure: Structure,
    target: int,
    generator: torch.Generator,
    kept_units: Mapping[str, Tensor],
    weights: Mapping[str, Tensor],
    scope: Scope,
    exact: bool,
) -> dict[str, Tensor]:
    """Keep the highest-scored weights of the kept units, so that the total meets the target."""
    alive = structure.masks(kept_units).parameters
    counts = structure.count(kept_units)
    budget = target - sum(n for layer, n in counts.items() if layer not in weights)
    if kept_units and not exact and scope != "protect-small":
        units = torch.cat(list(kept_units.values()))
        budget = round(sum(counts[name] for name in weights) * float(units.double().mean()))
    layers = [layer for layer in structure.layers if layer.name in weights]
    shares: Mapping[str, float] = {}
    if scope in ("erk", "protect-small"):
        shares = layer_densities(structure, max(1, target) / structure.prunable, scope)
    unmasked = torch.ones((), dtype=torch.bool)
    parts = []
    for layer in layers:
        ranked = _comparable(weights[layer.name], scope, generator, shares.get(layer.name, 1.0))
        available = alive.get(layer.weight, unmasked).expand(layer.shape).flatten()
        parts.append(ranked.masked_fill(~available, -torch.inf))
    scores = torch.cat(parts)
    budget = max(0, min(budget, int((scores > -torch.inf).sum())))
    kept = torch.zeros(scores.numel(), dtype=torch.bool)
    kept[_order(scores, generator)[:budget]] = True
    sizes = [layer.size for layer in layers]
    return {
        layer.name: part.view(layer.shape)
        for layer, part in zip(layers, kept.split(sizes), strict=True)
    }
