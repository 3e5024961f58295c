"""The one selection driver: from scores and a target density to masks.

Every method that ranks units or weights ends here, so no method can win by counting its
density in another way. Ties are broken at random (seeded), every group keeps a minimum width,
and the number kept is found by bisection on the weights that really remain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor

from baselines.shared.allocation import erk_densities
from baselines.shared.groups import Structure
from baselines.shared.masks import Masks

Scope = Literal["global", "layer-wise", "erk"]


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
    """Keep the best-scored units and weights, so that `density` of the prunable weights remain.

    Parameters
    ----------
    structure
        The network's prunable layers and groups.
    density
        Kept / prunable weights, in (0, 1].
    generator
        Breaks ties.
    units
        Group name -> scores [units], for every group; higher is kept, inf always, -inf never.
    weights
        Layer name -> scores of the weight's shape; higher is kept, -inf never is.
    scope
        ``global`` compares scores as they are; ``layer-wise`` compares ranks within a group or
        layer, so that each loses about the same share; ``erk`` ranks too, and gives layers the
        densities of `erk_densities`, for weights alone.
    minimum_width
        Units that every group keeps.
    exact
        When units and weights are selected together: True meets the density with the weights;
        False lets them lose the same share as the units, so that the density stays above the
        target by less than one unit. A method whose dead stay dead needs that until its last
        selection, or the weights would pay for every unit that is too large to go.

    Raises
    ------
    ValueError
        If the density is outside (0, 1], a score is NaN, there is nothing to select from, or
        units are to be allocated by ``erk``.
    """
    if not 0 < density <= 1:
        raise ValueError(f"density must be in (0, 1], not {density}")
    if not units and not weights:
        raise ValueError("nothing to select from: give unit scores, weight scores or both")
    for name, scores in [*(units or {}).items(), *(weights or {}).items()]:
        if bool(scores.isnan().any()):
            raise ValueError(f"the scores of '{name}' hold NaN")
    if scope == "erk" and units:
        raise ValueError("scope 'erk' allocates single weights, not units: use another scope")
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
    return structure.masks(kept_units, kept_weights)


def _comparable(scores: Tensor, scope: Scope, share: float = 1.0) -> Tensor:
    """Flat scores, or their ranks in [-1, 0) when compared within a layer; infinities stay.

    Ranks over the layer's share: one threshold keeps parts in proportion to the shares.
    """
    flat = scores.detach().cpu().double().flatten()
    if scope == "global":
        return flat
    ranks = flat.argsort(stable=True).argsort() / flat.numel()
    return torch.where(flat.isinf(), flat, (ranks.double() - 1) / share)


def _order(scores: Tensor, generator: torch.Generator) -> Tensor:
    """Indices from the best score to the worst, ties at random."""
    random = torch.randperm(scores.numel(), generator=generator)
    return random[scores[random].argsort(descending=True, stable=True)]


def _smallest(count: Callable[[int], float], target: float, low: int, high: int) -> int:
    """Smallest k in [low, high] with count(k) >= target; count never falls with k."""
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
    """Choose the number of units whose weights come nearest to the target.

    When single weights are selected as well, they are taken to lose the same share as the
    units, and the units stay just above the target: the weights then meet it exactly.
    """
    parts = []
    for group in structure.groups:
        scores = _comparable(units[group.name], scope)
        scores[_order(scores, generator)[:minimum_width]] = torch.inf
        parts.append(scores)
    merged = torch.cat(parts)
    order = _order(merged, generator)
    sizes = [group.size for group in structure.groups]
    alive = int((merged > -torch.inf).sum())
    connected = {name: scores.detach().cpu() > -torch.inf for name, scores in weights.items()}

    def keep(k: int) -> dict[str, Tensor]:
        kept = torch.zeros(order.numel(), dtype=torch.bool)
        kept[order[:k]] = True
        return {g.name: part for g, part in zip(structure.groups, kept.split(sizes), strict=True)}

    def count(k: int) -> float:
        kept = keep(k)
        counts = structure.count(kept)
        whole = sum(n for layer, n in counts.items() if layer not in weights)
        share = sum(counts[name] for name in weights) * k / order.numel()
        return whole + min(share, _connected(structure, kept, connected)) if weights else whole

    least = int((merged == torch.inf).sum())
    k = _smallest(count, target, least, alive)
    if not weights and k > least and target - count(k - 1) < count(k) - target:
        k -= 1
    return keep(k)


def _connected(
    structure: Structure, kept: Mapping[str, Tensor], connected: Mapping[str, Tensor]
) -> int:
    """Weights, among the connected ones, that only kept units own."""
    names = {f"{name}.weight": name for name in connected}
    axes = structure.axes(kept, names)
    total = 0
    for weight, name in names.items():
        left = connected[name]
        for dim in (0, 1):
            if (weight, dim) in axes:
                left = left.index_select(dim, axes[weight, dim].nonzero().flatten())
        total += int(left.sum())
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
    """Keep the best weights of the surviving units, so that the total meets the target."""
    alive = structure.masks(kept_units).parameters
    counts = structure.count(kept_units)
    budget = target - sum(n for layer, n in counts.items() if layer not in weights)
    if kept_units and not exact:
        units = torch.cat(list(kept_units.values()))
        budget = round(sum(counts[name] for name in weights) * float(units.double().mean()))
    layers = [layer for layer in structure.layers if layer.name in weights]
    shares = erk_densities(structure, target / structure.prunable) if scope == "erk" else {}
    whole = torch.ones((), dtype=torch.bool)
    scores = torch.cat(
        [
            _comparable(weights[layer.name], scope, shares.get(layer.name, 1.0)).masked_fill(
                ~alive.get(layer.weight, whole).expand(layer.shape).flatten(), -torch.inf
            )
            for layer in layers
        ]
    )
    budget = max(0, min(budget, int((scores > -torch.inf).sum())))
    kept = torch.zeros(scores.numel(), dtype=torch.bool)
    kept[_order(scores, generator)[:budget]] = True
    sizes = [layer.size for layer in layers]
    return {
        layer.name: part.view(layer.shape)
        for layer, part in zip(layers, kept.split(sizes), strict=True)
    }
