"""NDSNN: sparse training with rising sparsity, after neurogenesis (Huang et al. 2023, 2304.12214).

After the abstract: the full text was not available. Training is sparse from the start. At each
update connections are dropped and grown, and fewer grow than are dropped: the number of connections
falls from an initial to the target density.

Adapted: the number of a layer's connections falls along the cubic schedule of gradual pruning. The
share of dropped connections falls along half a cosine from `fraction` to `least`. The smallest
weights are dropped; those of largest gradient grow, and start at zero. The target is reached at
`stop`, and the connections are fixed from then on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from baselines.shared.contract import PruneContext, PrunerInfo
from baselines.shared.masks import Masks
from baselines.shared.schedules import cosine, cubic_density
from baselines.shared.selection import Scope
from baselines.shared.sparse_training import SparseTraining, drop_and_grow, random_connections


@dataclass
class NDSNN(SparseTraining):
    """Drop the smallest weights, and grow fewer of largest gradient.

    Parameters
    ----------
    fraction, least
        Share of a layer's connections that is dropped at progress 0 and at `stop`,
        0 <= least <= fraction <= 1.
    initial
        Density of the first connections, in (0, 1]; at least the target density is taken.
    updates, scope
        As in `SparseTraining`.
    stop
        Progress at which the target density is reached, in (0, 1].
    """

    info = PrunerInfo(
        name="ndsnn",
        summary="Sparse training with rising sparsity: fewer connections grow than are dropped.",
        paper="Huang et al. 2023, Neurogenesis dynamics-inspired SNN training, arXiv 2304.12214",
        granularities=("unstructured",),
        needs_gradients=True,
        after_abstract=True,
    )

    fraction: float = 0.5
    least: float = 0.05
    initial: float = 0.5
    stop: float = 0.75
    scope: Scope = "erk"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.least <= self.fraction or not 0 < self.initial <= 1 or self.stop == 0:
            raise ValueError("need 0 <= least <= fraction, initial in (0, 1] and stop > 0")

    def begin(self, network: nn.Module, context: PruneContext) -> None:
        """Start the clock; no connection is drawn yet."""
        super().begin(network, context)
        self.finished = False

    def due(self, progress: float) -> bool:
        """Whether connections are to be drawn, an update is due, or `stop` is reached."""
        return not self.finished and (super().due(progress) or progress >= self.stop)

    def gradients(self) -> None:
        """Keep the gradients of this batch; the next backward pass makes new tensors."""
        self.latest = {name: weight.grad for name, weight in self.layer_weights().items()}

    @torch.no_grad()
    def masks(self, progress: float) -> Masks | None:
        """Draw the connections at the first call; later drop more than grow."""
        if not self.due(progress):
            return None
        self.clock.due(progress)
        self.finished = progress >= self.stop
        context = self.context
        assert context.density is not None
        if not self.kept:
            first = replace(context, density=max(self.initial, context.density))
            self.kept = random_connections(first, self.scope)
            final = random_connections(context, self.scope)
            self.ends = {
                name: (int(kept.sum()), int(final[name].sum())) for name, kept in self.kept.items()
            }
        for name, weight in self.layer_weights().items() if progress > 0 else ():
            present, left = int(self.kept[name].sum()), self.number(name, progress)
            share = self.least + (self.fraction - self.least) * cosine(progress, self.stop)
            dropped = 0 if self.finished else round(share * present)
            dropped = max(dropped, present - left)
            grown = left - (present - dropped)
            grow = self._gradient(name)
            self.kept[name] = drop_and_grow(
                self.kept[name], dropped, weight.abs(), grow, context.generator, grown
            )
        return context.structure.masks(weights=self.kept)

    def number(self, layer: str, progress: float) -> int:
        """Return how many connections a layer has after an update."""
        first, last = self.ends[layer]
        falling = cubic_density(progress, 0.0, self.stop, 0.0)
        return round(last + (first - last) * falling)

    def _gradient(self, layer: str) -> Tensor:
        gradient = self.latest[layer]
        assert gradient is not None
        return gradient.abs()
