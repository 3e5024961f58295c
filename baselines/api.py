"""The contract between a pruning method and the loop that trains the network.

A method is a dataclass whose fields are its hyper-parameters. The loop calls

    begin     once, before the first training step
    observe   after every forward pass, when ``info.needs_activity``
    penalty   before every backward pass
    due       after every optimizer step
    masks     when it is due

and does everything else itself: it owns the optimizer, applies the masks to weights and
optimizer state, counts the budget, removes dead units and evaluates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from baselines.activity import Activity
from baselines.groups import Structure
from baselines.info import Granularity, PrunerInfo, Track
from baselines.masks import Masks

__all__ = ["Activity", "Granularity", "PruneContext", "Pruner", "PrunerInfo", "Track"]


@dataclass(frozen=True)
class PruneContext:
    """What a method may use during a run. The test split is not in it.

    Parameters
    ----------
    structure
        The prunable layers, and the groups of parameters that live and die together.
    granularity
        What to remove in this run.
    density
        Target, kept / prunable weights in (0, 1]; None: the method finds its own.
    generator
        The only source of random numbers that a method may draw from.
    steps
        Time steps of one sample; 1 for artificial networks.
    """

    structure: Structure
    granularity: Granularity
    density: float | None
    generator: torch.Generator
    steps: int = 1


class Pruner:
    """Base of all methods. Override `masks`, and what else the method needs."""

    info: ClassVar[PrunerInfo]

    def begin(self, network: nn.Module, context: PruneContext) -> None:
        """Take the network, before its first training step."""
        self.network = network
        self.context = context

    def observe(self, activity: Activity) -> None:
        """See one training batch."""

    def penalty(self) -> Tensor | None:
        """Return a scalar to add to the loss, or None."""
        return None

    def due(self, progress: float) -> bool:
        """Whether `masks` wants to be called now, with a network that is up to date.

        Parameters
        ----------
        progress
            Part of the training budget that is spent, in [0, 1].
        """
        return True

    def masks(self, progress: float) -> Masks | None:
        """Return the masks to apply from now on, or None while nothing changes.

        Parameters
        ----------
        progress
            Part of the training budget that is spent, in [0, 1].
        """
        raise NotImplementedError
