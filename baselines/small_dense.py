"""Small dense network: the control of structured pruning with as many weights as a pruned network.

All layers are narrowed by the same factor before the first training step, so that the density meets
the target. The whole budget then trains this network densely. A pruning method is worth its effort
only if it is better than this (Liu et al. 2019, arXiv 1810.05270, train such networks from
scratch). Which units are kept does not matter, because their weights are random.

The small network is initialised as a network of its own: PyTorch draws weights of standard
deviation proportional to 1 / sqrt(fan-in), so the weights of a layer that reads fewer units grow by
sqrt(fan-in before / fan-in after).

The SynOps of the trained network are not known before training. If they are the target, the network
is narrowed to `SETTLING` times the target, measured with its initial weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from baselines.shared.contract import PruneContext, Pruner, PrunerInfo, SynopsTarget
from baselines.shared.masks import Masks
from baselines.shared.selection import select

#: SynOps with initial weights / SynOps after training, about, as seen on digits-snn: 1.34 to 1.49.
#: Where the ratio is another one, the run misses its target, and its status says so.
SETTLING = 1.4


@dataclass
class SmallDense(Pruner):
    """Narrow all layers equally before training; there are no hyper-parameters."""

    info = PrunerInfo(
        name="small_dense",
        summary="A network of equally narrowed layers, trained densely; the control of widths.",
        paper="Liu et al. 2019, Rethinking the value of network pruning, arXiv 1810.05270",
        granularities=("structured",),
        aims_at_synops=True,
    )

    def begin(self, network: nn.Module, context: PruneContext) -> None:
        """Nothing is pruned yet."""
        super().begin(network, context)
        self.narrowed = False

    def due(self, progress: float) -> bool:
        """Whether the network has its full width."""
        return not self.narrowed

    @torch.no_grad()
    def masks(self, progress: float) -> Masks | None:
        """Keep the first units of every layer, and scale the weights that read them."""
        if self.narrowed:
            return None
        self.narrowed = True
        density, target = self.context.density, self.context.synops
        if target is not None:
            first = SynopsTarget(SETTLING * target.synops, target.measure)
            density = first.at(progress, self._first, self.context.generator, last=True)
        assert density is not None
        masks = self._first(density)
        for (name, dim), kept in self.context.structure.axes(masks.units).items():
            if dim == 1:
                self.network.get_parameter(name).div_(kept.double().mean().sqrt().item())
        return masks

    def _first(self, density: float) -> Masks:
        """Keep the first units of every layer, the same share of each, at a density."""
        structure = self.context.structure
        first = {g.name: torch.arange(g.size, 0, -1.0) for g in structure.groups}
        return select(structure, density, self.context.generator, units=first, scope="layer-wise")
