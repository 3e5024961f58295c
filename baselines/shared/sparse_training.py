"""Base class of dynamic sparse training: drop and grow connections at a constant density."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from baselines.shared.contract import PruneContext, Pruner
from baselines.shared.masks import Masks
from baselines.shared.schedules import UpdateClock, check_window
from baselines.shared.selection import Scope, random_ranks, select


def drop_and_grow(
    kept: Tensor,
    number: int,
    drop: Tensor,
    grow: Tensor,
    generator: torch.Generator,
    grown: int | None = None,
) -> Tensor:
    """Exchange connections of one layer.

    Parameters
    ----------
    kept
        Present connections, bool of the weight's shape.
    number
        Number of connections to drop. It is reduced if fewer are present or, in an exchange of as
        many, absent.
    drop
        Scores of the weight's shape. The present connections with the lowest scores are dropped.
    grow
        Scores of the weight's shape. The connections with the highest scores, among those that
        were absent before the call, are grown.
    generator
        Orders equal scores.
    grown
        Number of connections to grow, at most as many as are absent; None: as many as are dropped.

    Returns
    -------
    Tensor
        Present connections after the exchange, bool of the weight's shape.
    """
    present = kept.flatten().clone()
    absent, there = (~present).nonzero().flatten(), present.nonzero().flatten()
    number = min(number, len(there), len(absent) if grown is None else number)
    grown = number if grown is None else grown
    dropped = random_ranks(drop.detach().cpu().flatten()[there], generator) < number
    new = random_ranks(-grow.detach().cpu().flatten()[absent], generator) < grown
    present[there[dropped]] = False
    present[absent[new]] = True
    return present.view_as(kept)


@dataclass
class SparseTraining(Pruner):
    """Train a sparse network from the first step, and exchange connections at updates.

    The first connections are drawn at random. At each update every layer drops a fraction of its
    connections and grows as many new ones, whose weights start at zero.

    Parameters
    ----------
    fraction
        Share of a layer's connections that one update exchanges, in [0, 1].
    updates
        Number of updates per run, evenly spread over the run.
    stop
        Progress from which the connections do not change, in [0, 1].
    scope
        How the first connections are distributed over the layers: ``erk``, ``layer-wise`` (the
        same density in each layer) or ``global`` (the same density up to chance).
    """

    fraction: float = 0.3
    updates: int = 30
    stop: float = 0.75
    scope: Scope = "erk"

    def __post_init__(self) -> None:
        check_window(0.0, self.stop, self.updates)
        if not 0 <= self.fraction <= 1:
            raise ValueError(f"fraction must be in [0, 1], not {self.fraction}")

    def begin(self, network: nn.Module, context: PruneContext) -> None:
        """Start the clock; no connection is drawn yet."""
        super().begin(network, context)
        self.clock = UpdateClock(self.updates)
        self.kept: dict[str, Tensor] = {}

    def exchanged(self, progress: float) -> float:
        """Share of a layer's connections that an update exchanges, in [0, 1]."""
        return self.fraction

    def number(self, layer: str, progress: float) -> int:
        """Return how many connections of a layer an update exchanges."""
        return round(self.exchanged(progress) * int(self.kept[layer].sum()))

    def drop_scores(self, weight: Tensor) -> Tensor:
        """Scores of a layer's weight, of its shape; the lowest are dropped."""
        return weight.abs()

    def grow_scores(self, layer: str, shape: torch.Size) -> Tensor:
        """Scores of a layer's connections, of `shape`; the highest absent ones are grown."""
        return torch.rand(shape, generator=self.context.generator)

    def due(self, progress: float) -> bool:
        """Whether the connections are not drawn yet, or an update before `stop` is due."""
        return not self.kept or (progress < self.stop and self.clock.ahead(progress))

    @torch.no_grad()
    def masks(self, progress: float) -> Masks | None:
        """Draw the connections at the first call; exchange some at later updates."""
        if not self.due(progress):
            return None
        self.clock.due(progress)
        if not self.kept:
            self.kept = random_connections(self.context, self.scope)
            return self.context.structure.masks(weights=self.kept)
        for name, weight in self.layer_weights().items():
            kept = self.kept[name]
            drop, grow = self.drop_scores(weight), self.grow_scores(name, weight.shape)
            number, generator = self.number(name, progress), self.context.generator
            self.kept[name] = drop_and_grow(kept, number, drop, grow, generator)
        return self.context.structure.masks(weights=self.kept)


def random_connections(context: PruneContext, scope: Scope) -> dict[str, Tensor]:
    """Draw connections at random, at the target density.

    Parameters
    ----------
    context
        Structure, target density and random generator.
    scope
        How the connections are distributed over the layers, as in `SparseTraining`.

    Returns
    -------
    dict
        Layer name -> present connections, bool of the weight's shape.
    """
    assert context.density is not None
    generator, structure = context.generator, context.structure
    scores = {
        layer.name: torch.rand(layer.shape, generator=generator) for layer in structure.layers
    }
    masks = select(structure, context.density, generator, weights=scores, scope=scope)
    return {layer.name: masks.parameters[layer.weight] for layer in structure.layers}
