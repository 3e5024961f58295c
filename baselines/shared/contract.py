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

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from baselines.shared.activity import Activity
from baselines.shared.groups import Structure
from baselines.shared.info import Granularity, PrunerInfo, Track
from baselines.shared.masks import Masks

__all__ = ["Activity", "Granularity", "Probe", "PruneContext", "Pruner", "PrunerInfo", "Track"]


class Probe(Protocol):
    """What the harness offers; weights, statistics, optimizer and batch order stay as they are.

    It computes on the dense network, in float32, with batch norm over the batch's own statistics,
    as in training (running statistics mean nothing at initialisation). Neurons are stepped by
    snnTorch, so what it returns can be differentiated twice. Use ``torch.autograd.grad``, for
    ``backward`` would add to gradients of the training step.

    `parameters` replaces some of the network's parameters, by name, for one pass.
    """

    def batches(self, samples: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Draw training samples at random, in batches of the recipe's size.

        They are charged to the budget, as phase ``saliency``, before the first is seen. Each
        batch pays for one pass; passing it again, or a part of it, is charged again.

        Parameters
        ----------
        samples
            How many; no sample comes twice before all came once.

        Yields
        ------
        tuple
            Inputs [B, C, H, W] or [T, B, C, H, W], and labels [B].

        Raises
        ------
        BudgetExceededError
            If fewer remain in the budget. The run is then `over-budget`.
        """

    def loss(
        self,
        inputs: Tensor,
        labels: Tensor,
        *,
        reduction: Literal["mean", "sum", "none"] = "mean",
        parameters: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """The workload's loss of a batch, with graph; [B] if `reduction` is ``none``."""

    def per_example(self, inputs: Tensor, labels: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Gradients of each sample's own loss, for one layer after another.

        The batch's statistics count as constants in batch norm, so samples do not mix.

        Yields
        ------
        tuple
            Name of a convolution or linear layer, the readout too, and [B, *shape of its weight].
        """

    def linear(self, inputs: Tensor, parameters: Mapping[str, Tensor] | None = None) -> Tensor:
        """Scores [B, classes] of the network without neurons and batch norm; no budget is spent.

        Only for inputs that a method makes itself, of the shape of `example`.
        """

    def example(self) -> Tensor:
        """Zeros in the shape of one static sample, [1, C, H, W]."""


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
