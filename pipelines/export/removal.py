"""What the removal of single units costs: the oracle that the scores of a method are compared with.

A cell is run again. When the method has chosen new masks, each living unit is removed alone from
the dense network, and the loss on validation samples is measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from baselines.shared.groups import UnitGroup
from pipelines.networks.network import Network
from pipelines.training.cost import ActivityCounter
from pipelines.training.loss import loss_of
from pipelines.training.trainer import Trainer

#: Largest number of validation samples, and of units of a group that are removed.
SAMPLES, UNITS = 1000, 64


@dataclass(frozen=True)
class Removal:
    """Scores and loss increases of the living units at one moment.

    Parameters
    ----------
    progress
        When it was.
    correlations
        Group -> Spearman correlation of score and loss increase; None with fewer than three units,
        or if all scores or all increases are equal.
    """

    progress: float
    correlations: Mapping[str, float | None]


@dataclass
class RemovalProbe:
    """Measures removals at some moments of a run; to be called by its trainer.

    Parameters
    ----------
    moments
        Progress values of the moments, increasing.

    Attributes
    ----------
    removals
        The measurements; none if the method gives units no scores.
    firing_rates
        Layer -> firing rate on validation samples, just before the method first prunes.
    """

    moments: tuple[float, ...]
    removals: list[Removal] = field(default_factory=list)
    firing_rates: dict[str, float] = field(default_factory=dict)

    def __call__(self, trainer: Trainer, progress: float) -> None:
        """Measure if this is the next moment; the network is not changed."""
        network = trainer.live.full
        inputs, labels = validation_batch(trainer)
        if not self.firing_rates:
            self.firing_rates = firing_rates(network, inputs)
        done = len(self.removals)
        if done == len(self.moments) or progress < self.moments[done]:
            return
        scores = trainer.pruner.last_unit_scores()
        if scores is None:
            return
        kind = trainer.recipe.loss

        def loss() -> float:
            return float(loss_of(kind, network(inputs), labels, "mean"))

        found = {}
        training = network.training
        network.eval()
        with torch.no_grad():
            for group in trainer.structure.groups:
                units = _living(scores[group.name])
                increases = _increases(network, group, units, loss)
                found[group.name] = spearman(scores[group.name].cpu()[units].tolist(), increases)
        network.train(training)
        self.removals.append(Removal(progress, found))


def validation_batch(trainer: Trainer) -> tuple[Tensor, Tensor]:
    """Return the first `SAMPLES` validation samples and their labels."""
    return trainer.data.validation.batch(slice(SAMPLES))


@torch.no_grad()
def firing_rates(network: Network, inputs: Tensor) -> dict[str, float]:
    """Return layer -> fraction of its neurons' outputs that are not zero, in evaluation mode."""
    training = network.training
    network.eval()
    counter = ActivityCounter(network.steps, network)
    counter.add(network.run(inputs)[1])
    network.train(training)
    return counter.firing_rates()


def _living(scores: Tensor) -> list[int]:
    """Units whose score is finite; at most `UNITS` of them, evenly spread."""
    living = torch.isfinite(scores.cpu()).nonzero().flatten().tolist()
    step = max(1, math.ceil(len(living) / UNITS))
    return living[::step]


def _increases(
    network: Network, group: UnitGroup, units: Sequence[int], loss: Callable[[], float]
) -> list[float]:
    """Loss without each unit, minus the loss with all; weights are restored bit by bit."""
    whole, increases = loss(), []
    for unit in units:
        kept = []
        for cut in group.slices:
            parameter = network.get_parameter(cut.parameter)
            places = cut.index[unit].to(parameter.device)
            kept.append((parameter, cut.dim, places, parameter.index_select(cut.dim, places)))
            parameter.index_fill_(cut.dim, places, 0.0)
        increases.append(loss() - whole)
        for parameter, dim, places, before in kept:
            parameter.index_copy_(dim, places, before)
    return increases


def spearman(scores: Sequence[float], increases: Sequence[float]) -> float | None:
    """Spearman's rank correlation; None with fewer than three pairs or without differences."""
    from scipy.stats import spearmanr  # slow to import

    if len(scores) < 3 or len(set(scores)) == 1 or len(set(increases)) == 1:
        return None
    return float(spearmanr(scores, increases).statistic)
