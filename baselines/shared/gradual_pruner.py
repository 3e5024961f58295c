"""Base of the methods that score, and prune gradually to a target density."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from baselines.shared.contract import PruneContext, Pruner
from baselines.shared.masks import Masks
from baselines.shared.schedules import UpdateClock, check_window, cubic_density
from baselines.shared.selection import Scope, select


@dataclass
class GradualPruner(Pruner):
    """Keep the best-scored units or weights, ever fewer, along the cubic schedule.

    With ``start == stop`` it prunes once, at the first step that reaches them; at 0 that is
    before training. Few `updates` make it iterative.

    ``structured`` scores units, ``unstructured`` weights, ``hybrid`` units everywhere and the
    weights of linear layers as well.

    Parameters
    ----------
    start, stop
        Progress, in [0, 1], at which pruning starts and at which the target is reached.
    updates
        How often per run the masks may change, spread evenly over the run.
    scope
        ``global`` compares scores across layers, ``layer-wise`` within each, ``erk`` within each
        at Erdos-Renyi-kernel densities (weights only).
    """

    start: float = 0.1
    stop: float = 0.6
    updates: int = 100
    scope: Scope = "global"

    def __post_init__(self) -> None:
        check_window(self.start, self.stop, self.updates)

    def begin(self, network: nn.Module, context: PruneContext) -> None:
        """Take the network and start the clock.

        Raises
        ------
        ValueError
            If units are to be allocated by ``erk``.
        """
        super().begin(network, context)
        if self.scope == "erk" and context.granularity != "unstructured":
            raise ValueError("scope 'erk' allocates single weights only: use another scope")
        self.clock = UpdateClock(self.updates)
        self.finished = False
        groups = context.structure.groups
        self.alive = {g.name: torch.ones(g.size, dtype=torch.bool) for g in groups}

    def unit_scores(self) -> dict[str, Tensor]:
        """Group name -> scores [units]; higher is kept."""
        raise NotImplementedError

    def weight_scores(self) -> dict[str, Tensor]:
        """Layer name -> scores of the weight's shape; higher is kept. More layers do no harm."""
        raise NotImplementedError

    def due(self, progress: float) -> bool:
        """Whether an update between `start` and `stop` is due."""
        if self.finished or progress < self.start:
            return False
        return self.start == self.stop or self.clock.ahead(progress)

    def masks(self, progress: float) -> Masks | None:
        """Select anew at each update between `start` and `stop`."""
        if not self.due(progress):
            return None
        self.clock.due(progress)
        assert self.context.density is not None
        self.finished = progress >= self.stop
        structure, granularity = self.context.structure, self.context.granularity
        weights: dict[str, Tensor] = {}
        if granularity in ("unstructured", "hybrid"):
            layers = [x for x in structure.layers if granularity != "hybrid" or x.kind == "linear"]
            scores = self.weight_scores()
            weights = {layer.name: scores[layer.name] for layer in layers}
        masks = select(
            structure,
            cubic_density(progress, self.start, self.stop, self.context.density),
            self.context.generator,
            units=None if granularity == "unstructured" else self._alive_scores(),
            weights=weights,
            # Scores of units and of single weights compare by rank only.
            scope="layer-wise" if granularity == "hybrid" else self.scope,
        )
        self.alive = dict(masks.units)
        return masks

    def choose(
        self,
        *,
        units: Mapping[str, Tensor] | None = None,
        weights: Mapping[str, Tensor] | None = None,
        progress: float = 1.0,
        share: float = 1.0,
    ) -> Masks:
        """Select by scores a share of the density that is due, in this run's scope."""
        assert self.context.density is not None
        due = cubic_density(progress, self.start, self.stop, self.context.density)
        structure, draw = self.context.structure, self.context.generator
        return select(structure, share * due, draw, units=units, weights=weights, scope=self.scope)

    def _alive_scores(self) -> dict[str, Tensor]:
        """Scores of units; one that died has zero weights, from which it cannot come back."""
        if self.info.regrows:
            return self.unit_scores()
        scores = self.unit_scores().items()
        return {name: s.cpu().masked_fill(~self.alive[name], -torch.inf) for name, s in scores}
