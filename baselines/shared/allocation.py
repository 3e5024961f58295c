"""Allocation: which share of its weights or units each layer keeps.

The scopes ``global`` and ``lamp`` need no allocation, because their scores compare across layers.
The others rank scores within each layer or group, and this module gives the shares.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Literal

from baselines.shared.groups import PrunableLayer, Structure

Scope = Literal["global", "layer-wise", "lamp", "erk", "protect-small"]
#: Scopes that compare ranks within a layer or group.
RANKED: tuple[Scope, ...] = ("layer-wise", "erk", "protect-small")
#: Under ``protect-small`` the share that a layer keeps is proportional to its size to this power.
EXPONENT = -1 / 3


def layer_densities(structure: Structure, density: float, scope: Scope) -> dict[str, float]:
    """Densities of layers for the selection of single weights.

    ``erk`` are the Erdos-Renyi-kernel densities of arXiv 1911.11134, appendix: the density of a
    layer is proportional to the sum of its weight's dimensions divided by their product.
    ``protect-small``: it is proportional to the number of weights to the power -1/3. In both, a
    layer whose density would exceed 1 stays dense, and the other layers share the weights that it
    cannot take. ``layer-wise``: all layers have the same density.

    Parameters
    ----------
    structure
        The prunable layers.
    density
        Density of all layers together, in (0, 1].
    scope
        One of `RANKED`.

    Returns
    -------
    dict
        Layer name -> density, in (0, 1].

    Raises
    ------
    ValueError
        If `density` is outside (0, 1].
    """
    if not 0 < density <= 1:
        raise ValueError(f"density must be in (0, 1], not {density}")
    wanted = {layer.name: _share(layer, scope) * layer.size for layer in structure.layers}
    dense: set[str] = set()
    while True:
        sparse = [layer for layer in structure.layers if layer.name not in dense]
        budget = density * structure.prunable
        budget -= sum(layer.size for layer in structure.layers if layer.name in dense)
        scale = budget / max(1, sum(wanted[layer.name] for layer in sparse))
        full = {layer.name for layer in sparse if scale * wanted[layer.name] >= layer.size}
        if not full:
            densities = {layer.name: scale * wanted[layer.name] / layer.size for layer in sparse}
            return {layer.name: densities.get(layer.name, 1.0) for layer in structure.layers}
        dense |= full


def erk_densities(structure: Structure, density: float) -> dict[str, float]:
    """`layer_densities` with scope ``erk``."""
    return layer_densities(structure, density, "erk")


def unit_shares(
    structure: Structure, scope: Scope, weights: Container[str] = ()
) -> dict[str, float]:
    """Shares of units that the groups keep, up to a common factor; no group keeps more than all.

    The share of a group is the mean over its layers. Under ``protect-small``, neurons whose
    synapses are selected one by one are not removed (share inf).

    Parameters
    ----------
    structure
        The groups.
    scope
        One of `RANKED`.
    weights
        Names of the layers whose single weights are selected as well.

    Returns
    -------
    dict
        Group name -> share, > 0.
    """
    layers = {layer.name: layer for layer in structure.layers}
    shares = {}
    for group in structure.groups:
        found = [_share(layers[name], scope) for name in group.producers]
        shares[group.name] = sum(found) / len(found)
        if scope == "protect-small" and all(name in weights for name in group.producers):
            shares[group.name] = float("inf")
    return shares


def weights_of_units(structure: Structure, density: float, weights: Mapping[str, object]) -> float:
    """Number of weights that ``protect-small`` leaves to the layers pruned by units alone.

    In hybrid pruning a removed channel takes whole kernels with it, a removed synapse one weight.
    So layers that lose only units keep the density d (2 - d), about twice the target at low
    densities. The other layers keep at least half of the target density.

    Parameters
    ----------
    structure
        The layers.
    density
        Target density of all layers together, in (0, 1].
    weights
        By the name of each layer whose single weights are selected.

    Returns
    -------
    float
        Number of weights.
    """
    of_units = sum(layer.size for layer in structure.layers if layer.name not in weights)
    others = structure.prunable - of_units
    return min(
        density * (2 - density) * of_units, density * (structure.prunable - others / 2), of_units
    )


def _share(layer: PrunableLayer, scope: Scope) -> float:
    """Share that a layer keeps, up to a common factor."""
    if scope == "erk":
        return sum(layer.shape) / layer.size
    return 1.0 if scope == "layer-wise" else float(layer.size**EXPONENT)
