"""DPAP with competition: units of all layers compete, and inhibit weaker units that say the same.

The score of a unit is sqrt(F N) (1 - rho^2), relative to the layer: F is its trophic support
(`dpap.trophic`), N its group norm (DepGraph, arXiv 2301.12900), and rho^2 the largest squared
correlation of its spike trace with that of a stronger unit of its layer (`dpap.competition`). So a
unit lives if its readers use it, if its weights are large, and if no stronger unit does its work.
Layers compare by the normalisation of LAMP (arXiv 2010.07611).

In hybrid pruning only channels compete as units. A neuron lives as long as it has a synapse on both
sides, and its synapses compete within their layer by F.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, replace

import torch
import torch_pruning as tp
from torch import Tensor, nn

from baselines.shared.activity import Activity
from baselines.shared.contract import PruneContext
from baselines.shared.dependency_graph import relative, unit_scores
from baselines.shared.groups import Structure, UnitGroup
from baselines.shared.masks import Masks
from baselines.shared.selection import select
from dpap.competition import comparable, inhibited
from dpap.traces import trace
from dpap.trophic import TrophicDPAP, update_mean


@dataclass
class CompetitiveDPAP(TrophicDPAP):
    """Prune the units that lose the competition, and the synapses of the lowest support.

    Parameters
    ----------
    conv_ratio
        Granularity ``hybrid``: density of the convolutions divided by that of the linear layers,
        as far as it does not exceed 1.
    lateral
        Whether units inhibit weaker units.
    tau
        Decay of the spike traces per time step, in [0, 1], as in DPAP.
    """

    info = replace(
        TrophicDPAP.info,
        name="dpap-compete",
        summary="Units compete by support, norm and lateral inhibition; synapses by support.",
        paper="DPAP, arXiv 2211.12714, with the comparison of layers of LAMP, arXiv 2010.07611",
        emergent=False,
    )

    conv_ratio: float = 4.0
    lateral: bool = True
    tau: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.conv_ratio <= 0:
            raise ValueError(f"conv_ratio must be above 0, not {self.conv_ratio}")
        if not 0 <= self.tau <= 1:
            raise ValueError(f"tau must be in [0, 1], not {self.tau}")

    def begin(self, network: nn.Module, context: PruneContext) -> None:
        """Start as trophic support does; no covariance is known."""
        super().begin(network, context)
        self.covariances: dict[str, Tensor] = {}  # of the traces, [units, units], by group

    @torch.no_grad()
    def observe(self, activity: Activity) -> None:
        """Add a batch to the running means of the activity and of the covariance of the traces."""
        if self.finished:
            return
        super().observe(activity)
        structure = self.context.structure
        for group in structure.groups if self.lateral else ():
            sent = [activity.sent(name) for name in structure.emitters(group)]
            traces = trace(torch.stack(sent).sum(0), self.tau)
            centred = traces - traces.mean(0)
            now = centred.t() @ centred / len(centred)
            update_mean(self.covariances, group.name, now, self.momentum)

    def unit_scores(self) -> dict[str, Tensor]:
        """Group name -> scores, [units]."""
        importance = tp.importance.GroupMagnitudeImportance(
            p=2, group_reduction="mean", normalizer=None
        )
        norms = relative(unit_scores(self.context.structure, importance))
        scores = {}
        for name, support in self.units.items():
            score = (support * norms[name].cpu()).sqrt()
            score = score.masked_fill(~self.alive[name], -torch.inf)
            if self.lateral:
                score = inhibited(score, self.covariances[name].cpu())
            scores[name] = comparable(score)
        return scores

    def _matched(
        self, units: Mapping[str, Tensor], synapses: Mapping[str, Tensor], density: float
    ) -> Masks:
        """Keep the winners at a density."""
        structure, generator = self.context.structure, self.context.generator
        if not synapses:
            return select(
                structure, density, generator, units=units, minimum_width=self.minimum_width
            )
        kept = dict(self.alive)
        conv, linear = self._parts(set(synapses))
        left = round(density * structure.prunable)
        if conv.layers:
            ratio = self.conv_ratio
            share = min(1.0, ratio * left / (ratio * conv.prunable + linear.prunable))
            channels = {group.name: units[group.name] for group in conv.groups}
            width = self.minimum_width
            kept |= select(conv, share, generator, units=channels, minimum_width=width).units
            left -= sum(conv.count(kept).values())
        share = min(1.0, max(left, len(synapses)) / linear.prunable)
        while True:  # a neuron that dies frees the synapses on its other side
            chosen = self._synapses(linear, kept, synapses, share)
            wired = {
                group.name: kept[group.name] & self._wired(group, chosen, units[group.name])
                for group in structure.groups
                if group.name in synapses
            }
            if all(torch.equal(now, kept[name]) for name, now in wired.items()):
                return structure.masks(kept, chosen)
            kept |= wired

    def _parts(self, linear: Container[str]) -> tuple[Structure, Structure]:
        """Return the convolutions with their channels, and the named linear layers."""
        whole = self.context.structure
        channels = tuple(group for group in whole.groups if group.name not in linear)
        of_conv = tuple(layer for layer in whole.layers if layer.name not in linear)
        others = tuple(layer for layer in whole.layers if layer.name in linear)
        return Structure(of_conv, whole.shapes, channels), Structure(others, whole.shapes)

    def _synapses(
        self,
        linear: Structure,
        kept: Mapping[str, Tensor],
        synapses: Mapping[str, Tensor],
        share: float,
    ) -> dict[str, Tensor]:
        """Choose synapses between kept units. Pruned ones come back if there are no others."""
        alive = self.context.structure.masks(kept).parameters
        scores = {
            name: score.masked_fill(score.isinf(), -1.0).masked_fill(
                ~alive[f"{name}.weight"], -torch.inf
            )
            for name, score in synapses.items()
        }
        draw = self.context.generator
        masks = select(linear, share, draw, weights=scores, scope="layer-wise").parameters
        return {name: masks[f"{name}.weight"] for name in scores}

    def _wired(self, group: UnitGroup, chosen: Mapping[str, Tensor], scores: Tensor) -> Tensor:
        """Return which neurons have a synapse on both sides; the best neurons always count."""
        read, reads = torch.zeros(2, group.size, dtype=torch.bool)
        for cut in group.slices:
            name = cut.parameter.removesuffix(".weight")
            if name in chosen:
                has = chosen[name].any(1 - cut.dim)[cut.index].any(1)
                read, reads = (read | has, reads) if cut.dim else (read, reads | has)
            elif cut.dim == 1:  # the readout
                read = torch.ones_like(read)
        wired: Tensor = read & reads
        wired[scores.topk(min(self.minimum_width, group.size)).indices] = True
        return wired
