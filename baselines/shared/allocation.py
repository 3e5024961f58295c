"""Layer densities for methods that do not compare scores across layers."""

from __future__ import annotations

from baselines.shared.groups import Structure


def erk_densities(structure: Structure, density: float) -> dict[str, float]:
    """Erdos-Renyi-kernel (ERK) densities: small layers stay denser (arXiv 1911.11134, appendix).

    The density of a layer is proportional to the sum of its weight's dimensions divided by their
    product. A layer whose density would exceed 1 stays dense, and the other layers share the
    weights that it cannot take.

    Parameters
    ----------
    structure
        The prunable layers.
    density
        Density of all layers together, in (0, 1].

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
    dense: set[str] = set()
    while True:
        sparse = [layer for layer in structure.layers if layer.name not in dense]
        budget = density * structure.prunable
        budget -= sum(layer.size for layer in structure.layers if layer.name in dense)
        scale = budget / max(1, sum(sum(layer.shape) for layer in sparse))
        full = {layer.name for layer in sparse if scale * sum(layer.shape) >= layer.size}
        if not full:
            densities = {layer.name: scale * sum(layer.shape) / layer.size for layer in sparse}
            return {layer.name: densities.get(layer.name, 1.0) for layer in structure.layers}
        dense |= full
