"""Passes of training samples through the network, for methods that measure saliency."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, Protocol

from torch import Tensor


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
