"""Base class of methods that score units or weights and prune gradually to a target density."""

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
    """Keep the units or weights with the highest scores, at the density of the cubic schedule.

    ``start == stop`` is one-shot pruning, at the first step that reaches `start`; with 0 it happens
    before training. Iterative pruning has few `updates`.

    Granularity ``structured`` scores units, ``unstructured`` scores weights, and ``hybrid`` scores
    all units and the weights of linear layers.

    Parameters
    ----------
    start, stop
        Progress, in [0, 1], at which pruning starts, and at which the target density is reached.
    updates
        Number of mask updates per run, evenly spread over the run.
    scope
        How much each layer loses, as for `select`, in every granularity. ``global`` and ``lamp``
        compare scores across layers. ``layer-wise``, ``erk`` and ``protect-small`` rank them within
        each layer, at densities of their own.
    """

    start: float = 0.1
    stop: float = 0.6
    updates: int = 100
    scope: Scope = "global"

    def __post_init__(self) -> None:
        check_window(self.start, self.stop, self.updates)

    def begin(self, network: nn.Module, context: PruneContext) -> None:
        """Start the clock; all units are alive.

        Parameters
        ----------
        network
            The dense network.
        context
            What the method may use during this run.
        """
        super().begin(network, context)
        self.clock = UpdateClock(self.updates)
        self.finished = False
        groups = context.structure.groups
        self.alive = {g.name: torch.ones(g.size, dtype=torch.bool) for g in groups}
        self.last_scores: dict[str, Tensor] | None = None

    def last_unit_scores(self) -> dict[str, Tensor] | None:
        """Return the scores of units at the last update; None if single weights are pruned."""
        return self.last_scores

    def unit_scores(self) -> dict[str, Tensor]:
        """Return scores of units: group name -> [units]; the highest are kept."""
        raise NotImplementedError

    def weight_scores(self) -> dict[str, Tensor]:
        """Return scores of weights: layer name -> [*shape of the weight]; the highest are kept.

        Scores of layers that are not pruned are ignored.
        """
        raise NotImplementedError

    def due(self, progress: float) -> bool:
        """Whether a mask update between `start` and `stop` is due."""
        if self.finished or progress < self.start:
            return False
        return self.start == self.stop or self.clock.ahead(progress)

    def masks(self, progress: float) -> Masks | None:
        """Select by the current scores if an update is due."""
        if not self.due(progress):
            return None
        self.clock.due(progress)
        self.finished = progress >= self.stop
        structure, granularity = self.context.structure, self.context.granularity
        weights: dict[str, Tensor] = {}
        if granularity in ("unstructured", "hybrid"):
            layers = [x for x in structure.layers if granularity != "hybrid" or x.kind == "linear"]
            scores = self.weight_scores()
            weights = {layer.name: scores[layer.name] for layer in layers}
        units = None if granularity == "unstructured" else self._alive_scores()

        def chosen(density: float) -> Masks:
            draw = self.context.generator
            return select(structure, density, draw, units=units, weights=weights, scope=self.scope)

        masks = self.context.select(chosen, progress, self.start, self.stop)
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
        """Select by scores, in the scope of this method, without any change of its state.

        Parameters
        ----------
        units, weights
            Scores, as for `select`.
        progress
            Progress at which the schedule gives the density; 1: the target density.
        share
            Factor of this density, in (0, 1].

        Returns
        -------
        Masks
            The kept units and weights.
        """
        assert self.context.density is not None
        density = share * cubic_density(progress, self.start, self.stop, self.context.density)
        structure, generator = self.context.structure, self.context.generator
        return select(structure, density, generator, units=units, weights=weights, scope=self.scope)

    def _alive_scores(self) -> dict[str, Tensor]:
        """Unit scores; -inf for pruned units, unless the method regrows.

        The weights of a pruned unit are zero, so it could not recover.
        """
        scores = self.unit_scores()
        if not self.info.regrows:
            scores = {
                name: score.cpu().masked_fill(~self.alive[name], -torch.inf)
                for name, score in scores.items()
            }
        self.last_scores = scores
        return scores
