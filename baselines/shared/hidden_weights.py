"""Base class of methods that compute the network's weights from hidden weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from baselines.shared.contract import PruneContext, Pruner
from baselines.shared.masks import Masks
from baselines.shared.selection import Scope, select


@dataclass
class HiddenWeightPruner(Pruner):
    """Compute the network's weights as w = f(hidden), with w = 0 for pruned connections.

    Hidden weights of pruned connections are trained on, so that these connections can come back.
    The hidden weights receive the steps that the recipe's optimizer makes on w, as if the slope of
    f were 1. (The size of an Adam step hardly depends on the size of the gradient, so other slopes
    would give similar steps.)

    No mask is set before `stop`, because masks would clear the optimizer state of connections that
    may come back. At `stop` the connections with the highest scores are selected at the target
    density, and the rest of the budget trains them.

    Parameters
    ----------
    stop
        Progress at which the connections are fixed, in (0, 1].
    scope
        How scores are compared at `stop`, as for `select`.
    """

    stop: float = 0.7
    scope: Scope = "global"

    def __post_init__(self) -> None:
        if not 0 < self.stop <= 1:
            raise ValueError(f"stop must be in (0, 1], not {self.stop}")

    def begin(self, network: nn.Module, context: PruneContext) -> None:
        """Initialise the hidden weights with the weights of the network."""
        super().begin(network, context)
        self.hidden = {name: w.detach().clone() for name, w in self.layer_weights().items()}
        self._written = {name: w.clone() for name, w in self.hidden.items()}
        self.finished = False

    def visible(self, progress: float) -> dict[str, Tensor]:
        """Return the weights of the network, f(hidden): layer name -> weight.

        A method may also update ``self.hidden`` here.
        """
        raise NotImplementedError

    def scores(self) -> dict[str, Tensor]:
        """Return scores of the hidden weights by layer name; the highest are kept at `stop`."""
        raise NotImplementedError

    def due(self, progress: float) -> bool:
        """Whether the connections are not fixed yet."""
        return not self.finished

    @torch.no_grad()
    def masks(self, progress: float) -> Masks | None:
        """Apply the last optimizer step to the hidden weights; write f(hidden) to the network."""
        if self.finished:
            return None
        self.finished = progress >= self.stop
        weights = self.layer_weights()
        for name, weight in weights.items():
            self.hidden[name] += weight - self._written[name]
        for name, visible in self.visible(progress).items():
            weights[name].copy_(visible)
            self._written[name].copy_(visible)
        if not self.finished:
            return None
        context, scores = self.context, self.scores()
        assert context.density is not None
        return select(
            context.structure,
            context.density,
            context.generator,
            weights=scores,
            scope=self.scope,
        )
