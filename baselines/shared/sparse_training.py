"""Dropping and growing connections at an unchanged density: dynamic sparse training."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from baselines.shared.contract import PruneContext, Pruner
from baselines.shared.masks import Masks
from baselines.shared.schedules import UpdateClock, check_window
from baselines.shared.selection import Scope, select


def drop_and_grow(kept: Tensor, number: int, drop: Tensor, grow: Tensor) -> Tensor:
    """Exchange connections of one layer.

    Parameters
    ----------
    kept
        Present connections, bool of the weight's shape.
    number
        How many to exchange; fewer if fewer are present or absent.
    drop
        Scores of the weight's shape; of the present ones the lowest go.
    grow
        Scores of the weight's shape; of those that were absent the highest come.

    Returns
    -------
    Tensor
        Present connections afterwards; as many as before.
    """
    present = kept.flatten().clone()
    number = min(number, int(present.sum()), int((~present).sum()))
    leaving = drop.detach().cpu().flatten().double().masked_fill(~present, torch.inf)
    coming = grow.detach().cpu().flatten().double().masked_fill(present, -torch.inf)
    present[leaving.topk(number, largest=False).indices] = False
    present[coming.topk(number).indices] = True
    return present.view_as(kept)


@dataclass
class SparseTraining(Pruner):
    """Train sparse from the first step on, and exchange connections at a constant density.

    Which connections are there at first is drawn at random. At each update every layer drops a
    fraction of its connections and grows as many, which start at zero.

    Parameters
    ----------
    fraction
        Share of a layer's connections that one update exchanges, in [0, 1].
    updates
        How often per run, spread evenly.
    stop
        Progress from which the connections stay, in [0, 1].
    scope
        How the first connections are spread over layers: ``erk``, ``layer-wise`` (uniform) or
        ``global`` (uniform but for chance).
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
        """Take the network; nothing is connected yet."""
        super().begin(network, context)
        self.clock = UpdateClock(self.updates)
        self.kept: dict[str, Tensor] = {}

    def exchanged(self, progress: float) -> float:
        """Share of a layer's connections that an update exchanges."""
        return self.fraction

    def drop_scores(self, weight: Tensor) -> Tensor:
        """Scores of a layer's connections; the lowest go."""
        return weight.abs()

    def grow_scores(self, layer: str, shape: torch.Size) -> Tensor:
        """Scores of a layer's absent connections; the highest come."""
        return torch.rand(shape, generator=self.context.generator)

    def due(self, progress: float) -> bool:
        """At the first call, then at each update before `stop`."""
        return not self.kept or (progress < self.stop and self.clock.ahead(progress))

    @torch.no_grad()
    def masks(self, progress: float) -> Masks | None:
        """Draw the connections, or exchange some of each layer."""
        if not self.due(progress):
            return None
        self.clock.due(progress)
        if not self.kept:
            self.kept = random_connections(self.context, self.scope)
            return self.context.structure.masks(weights=self.kept)
        for name, weight in self.layer_weights().items():
            kept = self.kept[name]
            number = round(self.exchanged(progress) * int(kept.sum()))
            drop, grow = self.drop_scores(weight), self.grow_scores(name, weight.shape)
            self.kept[name] = drop_and_grow(kept, number, drop, grow)
        return self.context.structure.masks(weights=self.kept)


def random_connections(context: PruneContext, scope: Scope) -> dict[str, Tensor]:
    """Draw connections at the target density: layer name -> bool of the weight's shape."""
    assert context.density is not None
    draw, structure = context.generator, context.structure
    scores = {x.name: torch.rand(x.shape, generator=draw) for x in structure.layers}
    masks = select(structure, context.density, draw, weights=scores, scope=scope)
    return {x.name: masks.parameters[x.weight] for x in structure.layers}
