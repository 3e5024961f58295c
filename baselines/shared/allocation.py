"""How dense each layer is, when layers are not compared with one another."""

from __future__ import annotations

from baselines.shared.groups import Structure


def erk_densities(structure: Structure, density: float) -> dict[str, float]:
    """Erdos-Renyi-kernel densities: small layers stay denser (arXiv 1911.11134, appendix).

    A layer's density is proportional to the sum of its weight's dimensions over their product,
    and at most 1; what a whole layer cannot take goes to the others.

    Parameters
    ----------
    structure
        The prunable layers.
    density
        Of all layers together, in (0, 1].

    Returns
    -------
    dict
        Layer name -> density, in (0, 1].

    Raises
    ------
    ValueError
        If the density is outside (0, 1].
    """
    if not 0 < density <= 1:
        raise ValueError(f"density must be in (0, 1], not {density}")
    whole: set[str] = set()
    while True:
        open_layers = [x for x in structure.layers if x.name not in whole]
        left = density * structure.prunable
        left -= sum(x.size for x in structure.layers if x.name in whole)
        scale = left / max(1, sum(sum(x.shape) for x in open_layers))
        full = {x.name for x in open_layers if scale * sum(x.shape) >= x.size}
        if not full:
            densities = {x.name: scale * sum(x.shape) / x.size for x in open_layers}
            return {x.name: densities.get(x.name, 1.0) for x in structure.layers}
        whole |= full
