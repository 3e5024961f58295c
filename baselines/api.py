"""The contract between a pruning method and the loop that trains the network.

A method is a dataclass whose fields are its hyper-parameters. The loop calls

    begin      once, before the first training step
    restarts   once, after `begin`
    due        once before the first training step, then after every optimizer step
    masks      when it is due
    observe    after every forward pass, when ``info.needs_activity``
    penalty    before every backward pass
    gradients  after every backward pass, when ``info.needs_gradients``

and does everything else itself: it owns the optimizer, applies the masks to weights and
optimizer state, counts the budget, removes dead units and evaluates.

``self.network`` is the dense network; it is up to date in `begin`, `penalty`, `gradients` and
`masks`. A method may write into it (weights, batch norm, beta) in `masks` alone; masked entries
become zero again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from baselines.activity import Activity
from baselines.groups import Structure
from baselines.info import Granularity, PrunerInfo, Track
from baselines.masks import Masks
from baselines.probe import Probe

__all__ = ["Activity", "Granularity", "Probe", "PruneContext", "Pruner", "PrunerInfo", "Track"]


def _no_rate(progress: float) -> float:
    raise ValueError("this method needs a learning rate: give its context one")


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
    probe
        Passes of training samples for saliency; a method reaches it as ``self.probe``.
    learning_rate
        Progress -> the recipe's learning rate, restarts left aside; for a method that moves
        weights itself.
    """

    structure: Structure
    granularity: Granularity
    density: float | None
    generator: torch.Generator
    steps: int = 1
    probe: Probe | None = None
    learning_rate: Callable[[float], float] = _no_rate


class Pruner:
    """Base of all methods. Override `masks`, and what else the method needs."""

    info: ClassVar[PrunerInfo]

    def begin(self, network: nn.Module, context: PruneContext) -> None:
        """Take the network, before its first training step."""
        self.network = network
        self.context = context

    @property
    def probe(self) -> Probe:
        """Passes of training samples.

        Raises
        ------
        ValueError
            If the context has none.
        """
        if self.context.probe is None:
            raise ValueError(f"method '{self.info.name}' needs a probe: give its context one")
        return self.context.probe

    def layer_weights(self) -> dict[str, nn.Parameter]:
        """Weights of the prunable layers: layer name -> parameter."""
        layers = self.context.structure.layers
        return {layer.name: self.network.get_parameter(layer.weight) for layer in layers}

    def restarts(self) -> tuple[float, ...]:
        """Return progress values, rising, in (0, 1), at which training starts anew.

        At the first step that reaches one, after `masks`, the optimizer forgets its state, and
        the recipe's learning-rate schedule begins again and spans the time up to the next
        restart or the end.
        """
        return ()

    def observe(self, activity: Activity) -> None:
        """See one training batch.

        Tensors have no gradient. Sums over maps may be kept; the next batch overwrites maps.
        """

    def penalty(self) -> Tensor | None:
        """Return a scalar to add to the loss, or None."""
        return None

    def gradients(self) -> None:
        """See the gradients of one training batch: ``.grad`` of the parameters of self.network.

        They are the gradients of loss and penalty together. Masked weights have theirs too, as
        masks act on weights; those of a removed unit are zero.
        """

    def due(self, progress: float) -> bool:
        """Whether `masks` wants to be called now, with a network that is up to date.

        Parameters
        ----------
        progress
            Part of the training budget that is spent, in [0, 1]; samples of the probe count.
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
