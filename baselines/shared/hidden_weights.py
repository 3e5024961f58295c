"""Weights behind those of the network, which live on while the network's are zero."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from baselines.shared.contract import PruneContext, Pruner
from baselines.shared.masks import Masks
from baselines.shared.selection import Scope, select


@dataclass
class HiddenWeightPruner(Pruner):
    """Compute the network's weights as w = f(hidden), and prune where w is zero.

    The hidden weights make the steps that the recipe's optimizer makes on w, as if f had slope
    one; the size of an Adam step hardly depends on the gradient's, so other slopes move alike.
    No mask is set before `stop`, for masks would clear the optimizer's memory of what may come
    back. At `stop` the shared selection keeps the best scores, at the target density, and the
    rest of the budget trains them.

    Parameters
    ----------
    stop
        Progress at which the connections are fixed, in (0, 1].
    scope
        How scores are compared at `stop`.
    """

    stop: float = 0.7
    scope: Scope = "global"

    def __post_init__(self) -> None:
        if not 0 < self.stop <= 1:
            raise ValueError(f"stop must be in (0, 1], not {self.stop}")

    def begin(self, network: nn.Module, context: PruneContext) -> None:
        """Take the network; the hidden weights start at its own."""
        super().begin(network, context)
        self.hidden = {name: w.detach().clone() for name, w in self.layer_weights().items()}
        self._written = {name: w.clone() for name, w in self.hidden.items()}
        self.finished = False

    def visible(self, progress: float) -> dict[str, Tensor]:
        """Move `self.hidden`, if the method does, and return f of it: layer name -> weight."""
        raise NotImplementedError

    def scores(self) -> dict[str, Tensor]:
        """Layer name -> scores of the hidden weights; the highest are kept at `stop`."""
        raise NotImplementedError

    def due(self, progress: float) -> bool:
        """Every step until `stop`."""
        return not self.finished

    @torch.no_grad()
    def masks(self, progress: float) -> Masks | None:
        """Let the hidden weights follow the optimizer, and the network follow them."""
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


class SoftMasks:
    """Masks sigmoid(tau * m) of weights and of the units that they read, trained by Adam.

    What the first layer reads are inputs, not neurons: it has masks of weights alone.

    Parameters
    ----------
    weights
        Layer name -> weight, in the order of the network. All m start at zero: half open.
    """

    def __init__(self, weights: dict[str, Tensor]) -> None:
        self.weights = {n: torch.zeros_like(w).requires_grad_() for n, w in weights.items()}
        self.units = {
            name: w.new_zeros(1, w.shape[1], *[1] * (w.dim() - 2)).requires_grad_()
            for name, w in list(weights.items())[1:]
        }
        masks = [*self.weights.values(), *self.units.values()]
        self.optimizer = torch.optim.Adam(masks, fused=True)  # one pass over the memory

    def open(self, tau: float) -> dict[str, Tensor]:
        """How open each weight is, in (0, 1): layer name -> product of its two masks."""
        masks = {name: (tau * m).sigmoid() for name, m in self.weights.items()}
        return masks | {name: masks[name] * (tau * m).sigmoid() for name, m in self.units.items()}

    def step(
        self,
        slopes: dict[str, Tensor],
        spikes: dict[str, Tensor],
        strength: float,
        tau: float,
        rate: float,
    ) -> None:
        """Move down the loss and the operations.

        Parameters
        ----------
        slopes
            Layer name -> gradient of the loss along `open`, of the weight's shape.
        spikes
            Layer name -> received from each unit, [units]; a weight makes as many operations.
        strength
            What all operations of the open network add to the loss.
        tau, rate
            Sharpness of the masks, and the learning rate.
        """
        self.optimizer.param_groups[0]["lr"] = rate
        self.optimizer.zero_grad()
        total = sum(float(s.sum()) * self.weights[n][:, 0].numel() for n, s in spikes.items())
        opened = self.open(tau)
        gradients = []
        for name, mask in opened.items():
            cost = spikes[name].view(1, -1, *[1] * (mask.dim() - 2)) / max(total, 1.0)
            gradients.append(slopes[name] + strength * cost)
        torch.autograd.backward(list(opened.values()), gradients)
        self.optimizer.step()
