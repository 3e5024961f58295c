"""SD-SNN: dendritic spines, neuronal pruning and regeneration (Han et al. 2022, arXiv 2211.12219).

After the abstract and the authors' code (BrainCog, Structural_Development/SD-SNN). Each synapse has
a spine, a range [low, high] of its weight. A weight that stays beyond its range for `patience`
updates widens it by the mean excess. A weight whose magnitude falls for `patience` updates narrows
it to 3/4. From then on weights are clamped to their ranges. Neurons with the smallest sums of
ranges are pruned. Pruned synapses whose weight would grow regenerate.

Adapted: the method runs as ``hybrid``: units, and single weights of linear layers, those of the
smallest ranges. The density follows the cubic schedule; the authors adapt the rates of pruning and
regeneration, and find a density. Pruned weights get no optimizer steps here, so those with the
largest accumulated gradient regenerate, within kept units. Their share falls along half a cosine,
as the authors' rate of regeneration falls.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from baselines.shared.contract import PruneContext, PrunerInfo
from baselines.shared.dependency_graph import relative
from baselines.shared.gradual_pruner import GradualPruner
from baselines.shared.masks import Masks
from baselines.shared.schedules import cosine
from baselines.shared.selection import Scope
from baselines.shared.sparse_training import drop_and_grow
from baselines.shared.spines import Spines


@dataclass
class SDSNN(GradualPruner):
    """Keep units and synapses of wide spines, and regenerate some synapses.

    Parameters
    ----------
    patience
        Updates for which a weight must stay out of its range, or shrink, before the range changes;
        >= 1.
    regeneration
        Share of a layer's synapses that regenerates at progress 0, in [0, 1); it falls to zero at
        `stop`.
    """

    info = PrunerInfo(
        name="sd_snn",
        summary="Spines bound the weights; units and synapses of small spines are pruned.",
        paper="Han et al. 2022, Adaptive sparse structure development, arXiv 2211.12219",
        granularities=("hybrid",),
        needs_gradients=True,
        after_abstract=True,
    )

    scope: Scope = "layer-wise"
    patience: int = 3
    regeneration: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.patience < 1 or not 0 <= self.regeneration < 1:
            raise ValueError("need patience >= 1 and regeneration in [0, 1)")

    def begin(self, network: nn.Module, context: PruneContext) -> None:
        """Give all weights of a layer the range of its largest one."""
        super().begin(network, context)
        weights = self.layer_weights()
        self.spines = {name: Spines(w, self.patience) for name, w in weights.items()}
        self.growth = {name: torch.zeros_like(w) for name, w in weights.items()}
        self.kept, self.now = Masks(), 0.0

    def gradients(self) -> None:
        """Add up the gradients since the last update."""
        for name, weight in self.layer_weights().items():
            if not self.finished and weight.grad is not None:
                self.growth[name] += weight.grad

    def due(self, progress: float) -> bool:
        """Whether an update of spines or masks is due, until `stop`."""
        return not self.finished and (self.clock.ahead(progress) or super().due(progress))

    @torch.no_grad()
    def masks(self, progress: float) -> Masks | None:
        """Update the spines, clamp the weights, and from `start` on prune and regenerate."""
        if not self.due(progress):
            return None
        self.now = progress
        for name, weight in self.layer_weights().items():
            self.spines[name].update(weight)
            if progress * self.updates >= self.patience:
                self.spines[name].clamp_(weight)
        masks = super().masks(progress) if progress >= self.start else None
        self.clock.due(progress)
        self.kept = masks or self.kept
        for total in self.growth.values():
            total.zero_()
        return masks

    def unit_scores(self) -> dict[str, Tensor]:
        """Group name -> summed spines of the synapses into each unit, by their mean [units]."""
        sums = {}
        for group in self.context.structure.groups:
            rows = [
                self._spines(name).flatten(1).sum(1) / self.spines[name].width.mean()
                for name in group.producers
            ]
            sums[group.name] = torch.stack(rows).sum(0)
        return relative(sums)

    def weight_scores(self) -> dict[str, Tensor]:
        """Layer name -> scores: inf where synapses regenerate, above 1 where they are kept.

        Scores of pruned synapses are below 1: they come back only if the density needs them.
        """
        share = self.regeneration * cosine(self.now, self.stop)
        scores = {}
        for layer in self.context.structure.layers:
            width = self.spines[layer.name].width.cpu()
            kept = self._connected(layer.name, layer.shape)
            number = round(share * int(kept.sum()))
            growth = self.growth[layer.name].abs().cpu()
            now = drop_and_grow(kept, number, width, growth, self.context.generator)
            absent = growth / (1 + growth)
            score = torch.where(now, 1 + width, absent)
            scores[layer.name] = score.masked_fill(now & ~kept, torch.inf)
        return scores

    def _connected(self, layer: str, shape: tuple[int, ...]) -> Tensor:
        every = torch.ones(shape, dtype=torch.bool)
        return self.kept.parameters.get(f"{layer}.weight", every).cpu()

    def _spines(self, layer: str) -> Tensor:
        width = self.spines[layer].width
        return width * self._connected(layer, tuple(width.shape)).to(width.device)
