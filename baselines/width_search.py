"""Search of layer widths: how many units each layer keeps is searched, under a budget.

SPEAR (arXiv 2507.02945, read in its abstract) searches widths of a trained spiking network under a
budget of SynOps, by reinforcement learning with a predictor of the SynOps after fine-tuning. Here
the search is a small evolutionary one under the budget of training samples that all methods have.

At `start`, candidates are drawn. A candidate has one factor for each group of units; its units are
ordered by group norm (DepGraph, arXiv 2301.12900) and kept in proportion to the factor, so that the
density or the SynOps of the run are met. The candidate with the lowest loss on training samples
wins, before any fine-tuning. Half of the candidates are random, the others change the best one a
little. From `start` to `stop` the network is then pruned to the widths that won.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
import torch_pruning as tp
from torch import Tensor, nn

from baselines.shared.contract import PruneContext, Pruner, PrunerInfo, SynopsTarget
from baselines.shared.dependency_graph import unit_scores
from baselines.shared.masks import Masks
from baselines.shared.schedules import UpdateClock, check_window
from baselines.shared.selection import select


@dataclass
class WidthSearch(Pruner):
    """Search the widths of all layers, then prune to them by group norm.

    Parameters
    ----------
    start, stop, updates
        As for all gradual methods; the search takes place at `start`.
    candidates
        Number of candidates, >= 1; the first one keeps the same share of every layer.
    samples
        Training samples on which each candidate is judged, >= 1; they are charged each time.
    spread
        Standard deviation of the logarithm of the factors, >= 0.
    """

    info = PrunerInfo(
        name="width_search",
        summary="Layer widths found by an evolutionary search under the density or the SynOps.",
        paper="SPEAR, arXiv 2507.02945, without reinforcement learning",
        granularities=("structured",),
        tracks=("from-scratch", "post-training"),
        aims_at_synops=True,
        after_abstract=True,
    )

    start: float = 0.2
    stop: float = 0.6
    updates: int = 100
    candidates: int = 24
    samples: int = 32
    spread: float = 0.5

    def __post_init__(self) -> None:
        check_window(self.start, self.stop, self.updates)
        if min(self.candidates, self.samples) < 1 or self.spread < 0:
            raise ValueError("candidates and samples must be at least 1, and spread at least 0")

    def begin(self, network: nn.Module, context: PruneContext) -> None:
        """Start the clock; nothing is searched yet."""
        super().begin(network, context)
        self.clock, self.finished = UpdateClock(self.updates), False
        self.factors: dict[str, float] = {}
        groups = context.structure.groups
        self.alive = {g.name: torch.ones(g.size, dtype=torch.bool) for g in groups}

    def due(self, progress: float) -> bool:
        """Whether an update between `start` and `stop` is due."""
        return not self.finished and progress >= self.start and self.clock.ahead(progress)

    @torch.no_grad()
    def masks(self, progress: float) -> Masks | None:
        """Search at the first update; at each update prune along the schedule."""
        if not self.due(progress):
            return None
        self.clock.due(progress)
        self.finished = progress >= self.stop
        norms = self._norms()
        self.factors = self.factors or self.search(norms)
        chosen = partial(self.keep, norms, self.factors)
        masks = self.context.select(chosen, progress, self.start, self.stop)
        self.alive = dict(masks.units)
        return masks

    def keep(
        self, norms: Mapping[str, Tensor], factors: Mapping[str, float], density: float
    ) -> Masks:
        """Keep the units of largest norm, shares of the layers in proportion to the factors."""
        scores = {}
        for name, norm in norms.items():
            place = norm.argsort(descending=True).argsort() + 1
            score = -place / (len(place) * factors[name])
            scores[name] = score.masked_fill(~self.alive[name], -torch.inf)
        return select(self.context.structure, density, self.context.generator, units=scores)

    def search(self, norms: Mapping[str, Tensor]) -> dict[str, float]:
        """Return the factors of the candidate with the lowest loss."""
        batches = list(self.probe.batches(self.samples))
        names, draw = list(norms), self.context.generator
        best, least = torch.zeros(len(names)), math.inf
        for i in range(self.candidates):
            late = 2 * i >= self.candidates
            step = self.spread * torch.randn(len(names), generator=draw) if i else best
            tried = best + step / 2 if late else step
            factors = dict(zip(names, tried.exp().tolist(), strict=True))
            loss = self._loss(self._at_target(norms, factors), batches)
            if loss < least:
                best, least = tried, loss
        return dict(zip(names, best.exp().tolist(), strict=True))

    def _at_target(self, norms: Mapping[str, Tensor], factors: Mapping[str, float]) -> Masks:
        density, target = self.context.density, self.context.synops
        chosen = partial(self.keep, norms, factors)
        if target is not None:
            own = SynopsTarget(target.synops, target.measure)
            density = own.at(0.0, chosen, self.context.generator, last=True)
        assert density is not None
        return chosen(density)

    def _loss(self, masks: Masks, batches: list[tuple[Tensor, Tensor]]) -> float:
        """Sum of the losses of the masked network."""
        weights = dict(self.network.named_parameters())
        masked = {
            n: weights[n] * kept.to(weights[n].device) for n, kept in masks.parameters.items()
        }
        return sum(
            float(self.probe.loss(inputs, labels, reduction="sum", parameters=masked))
            for inputs, labels in batches
        )

    def _norms(self) -> dict[str, Tensor]:
        importance = tp.importance.GroupMagnitudeImportance(
            p=2, group_reduction="mean", normalizer=None
        )
        return {n: s.cpu() for n, s in unit_scores(self.context.structure, importance).items()}
