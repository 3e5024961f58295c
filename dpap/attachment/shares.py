"""Densities per layer: one instance of a method for each layer, or for layers that share units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor, nn

from baselines.shared.activity import Activity
from baselines.shared.contract import PruneContext, Pruner
from baselines.shared.groups import Structure
from baselines.shared.masks import Masks
from dpap.attachment.methods import fresh

#: Layer, or module with layers inside -> density of these layers.
Densities = Mapping[str, float]


def layer_densities(structure: Structure, wanted: Densities) -> dict[str, float]:
    """Return the density of each layer that is to be pruned.

    Parameters
    ----------
    structure
        Layers and unit groups of the network.
    wanted
        Densities by the paths of layers, or of modules with layers inside; a longer path counts
        more. Layers without one are not pruned.

    Raises
    ------
    ValueError
        If a density or a path is wrong, or layers that share units have several densities.
    """
    for path, density in wanted.items():
        if not 0 < density <= 1:
            raise ValueError(f"the density of '{path}' must be in (0, 1], not {density}")
        if not any(_inside(layer.name, path) for layer in structure.layers):
            raise ValueError(
                f"density names '{path}', which is no prunable layer and has none inside: "
                f"name some of {[layer.name for layer in structure.layers]}"
            )
    found = {}
    for layer in structure.layers:
        paths = [path for path in wanted if _inside(layer.name, path)]
        if paths:
            found[layer.name] = wanted[max(paths, key=len)]
    for group in structure.groups:
        if len({found.get(name) for name in group.producers}) > 1:
            names = " and ".join(f"'{name}'" for name in group.producers)
            raise ValueError(f"layers {names} share their units: give all of them the same density")
    if all(density == 1 for density in found.values()):
        raise ValueError("density prunes no layer: give some layer a density below 1")
    return found


def _inside(layer: str, path: str) -> bool:
    return layer == path or layer.startswith(f"{path}.")


@dataclass
class Several(Pruner):
    """Instances of one method, each for one layer, or for layers that share units.

    Each sees its own layers only. For units, the density of a layer is the share of its units that
    are kept; that they read fewer units of other layers is not counted.

    Parameters
    ----------
    method
        The method.
    densities
        Layer -> density, from `layer_densities`.
    """

    method: Pruner
    densities: Mapping[str, float]

    def __post_init__(self) -> None:
        self.info = self.method.info  # type: ignore[misc]  # that of the method

    @property
    def finished(self) -> bool:
        """Whether no instance reads or prunes any more."""
        return all(getattr(part, "finished", False) for part in self.parts)

    def begin(self, network: nn.Module, context: PruneContext) -> None:
        """Begin with one instance for each layer, or layers that share units."""
        super().begin(network, context)
        self.parts: list[Pruner] = []
        self.last: dict[int, Masks] = {}
        groups = [group.producers for group in context.structure.groups]
        for names in groups or [(layer.name,) for layer in context.structure.layers]:
            density = self.densities.get(names[0], 1.0)
            if density == 1:
                continue
            part = fresh(self.method)
            structure = part_of_structure(context.structure, set(names))
            part.begin(network, replace(context, structure=structure, density=density))
            self.parts.append(part)

    def restarts(self) -> tuple[float, ...]:
        """Those of the method."""
        return self.parts[0].restarts()

    def observe(self, activity: Activity) -> None:
        """Give each instance the activity of its layers."""
        for part in self.parts:
            names = [layer.name for layer in part.context.structure.layers]
            part.observe(Activity({name: activity[name] for name in names}))

    def penalty(self) -> Tensor | None:
        """Sum of the penalties."""
        terms = [term for part in self.parts if (term := part.penalty()) is not None]
        return sum(terms[1:], terms[0]) if terms else None

    def gradients(self) -> None:
        """Let each instance read the gradients."""
        for part in self.parts:
            part.gradients()

    def due(self, progress: float) -> bool:
        """Whether some instance prunes now."""
        return any(part.due(progress) for part in self.parts)

    def masks(self, progress: float) -> Masks | None:
        """Join the masks of all instances."""
        changed = False
        for number, part in enumerate(self.parts):
            found = part.masks(progress) if part.due(progress) else None
            if found is not None:
                self.last[number], changed = found, True
        return joined(list(self.last.values())) if changed else None


def part_of_structure(structure: Structure, names: set[str]) -> Structure:
    """Return the part of a structure that has these layers, and the groups they produce."""
    layers = tuple(layer for layer in structure.layers if layer.name in names)
    groups = tuple(group for group in structure.groups if names.issuperset(group.producers))
    return Structure(layers, structure.shapes, groups)


def joined(masks: list[Masks]) -> Masks:
    """Join masks of different layers: an entry is kept if all of them keep it."""
    parameters: dict[str, Tensor] = {}
    units: dict[str, Tensor] = {}
    for one in masks:
        for name, mask in one.parameters.items():
            parameters[name] = parameters[name] & mask if name in parameters else mask
        units |= one.units
    return Masks(parameters, units)
