"""DPAP with competition: units of all layers compete, and inhibit weaker units that say the same.

The score of a unit is sqrt(F N) (1 - rho^2), relative to the layer: F is its trophic support
(`dpap.trophic`), N its group norm (DepGraph, arXiv 2301.12900), and rho^2 the largest squared
correlation of its spike trace with that of a stronger unit of its layer (`dpap.rivals`). So a
unit lives if its readers use it, if its weights are large, and if no stronger unit does its work.
Layers compare by the normalisation of LAMP (arXiv 2010.07611).

In hybrid pruning only channels compete as units. A neuron lives as long as it has a synapse on both
sides, and its synapses compete within their layer by F.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch_pruning as tp
from torch import Tensor, nn

from baselines.shared.activity import Activity
from baselines.shared.contract import PruneContext, PrunerInfo
from baselines.shared.dependency_graph import relative, unit_scores
from baselines.shared.groups import Structure
from baselines.shared.masks import Masks
from baselines.shared.selection import select
from dpap.rivals import comparable, inhibited, wired
from dpap.traces import trace
from dpap.trophic import TrophicDPAP, update_mean


@dataclass
class CompetitiveDPAP(TrophicDPAP):
    """Prune the units that lose the competition, and the synapses of the lowest support.

    The method finds no density of its own, so `threshold` has no effect.

    Parameters
    ----------
    start, stop
        As in `dpap.trophic.TrophicDPAP`, with earlier defaults.
    structured_ratio, hybrid_ratio
        Density of the convolutions divided by that of the linear layers, by granularity, as far as
        the former does not exceed 1. Linear layers can be sparser if single synapses are pruned.
    lateral
        Whether units inhibit weaker units.
    tau
        Decay of the spike traces per time step, in [0, 1], as in DPAP.
    """

    info = PrunerInfo(
        name="dpap-compete",
        summary="Units compete by support, norm and lateral inhibition; synapses by support.",
        paper="DPAP, arXiv 2211.12714, with the comparison of layers of LAMP, arXiv 2010.07611",
        granularities=("structured", "hybrid"),
        tracks=("from-scratch", "post-training"),
        needs_activity=True,
        aims_at_synops=True,
    )

    start: float = 0.1
    stop: float = 0.4
    structured_ratio: float = 2.0
    hybrid_ratio: float = 7.0
    lateral: bool = True
    tau: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("structured_ratio", "hybrid_ratio"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")
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
        """Choose channels, then neurons or synapses so that the density is met."""
        structure, draw, width = self.context.structure, self.context.generator, self.minimum_width
        conv, linear = self._parts()
        left = round(density * structure.prunable)
        kept = dict(self.alive)
        if conv.layers:
            ratio = self.hybrid_ratio if synapses else self.structured_ratio
            share = ratio * left / (ratio * conv.prunable + linear.prunable)
            channels = {group.name: units[group.name] for group in conv.groups}
            chosen = select(conv, min(1.0, share), draw, units=channels, minimum_width=width)
            kept |= chosen.units
            left -= sum(conv.count(kept).values())
        if synapses:
            return self._with_synapses(linear, kept, units, synapses, left)
        fixed = {
            group.name: torch.full((group.size,), torch.inf).masked_fill(
                ~kept[group.name], -torch.inf
            )
            for group in conv.groups
        }
        scores = {**units, **fixed}
        return select(
            structure, density, draw, units=scores, scope="layer-wise", minimum_width=width
        )

    def _with_synapses(
        self,
        linear: Structure,
        kept: dict[str, Tensor],
        scores: Mapping[str, Tensor],
        synapses: Mapping[str, Tensor],
        left: int,
    ) -> Masks:
        """Choose `left` synapses between kept units, and remove the neurons that have none."""
        structure, draw = self.context.structure, self.context.generator
        share = min(1.0, max(left, len(synapses)) / linear.prunable)
        neurons = [group for group in structure.groups if group.name in synapses]
        while True:
            allowed = structure.masks(kept).parameters
            # A pruned synapse comes back only if all others that are allowed are kept.
            ranked = {
                name: score.masked_fill(score.isinf(), -1.0).masked_fill(
                    ~allowed[f"{name}.weight"], -torch.inf
                )
                for name, score in synapses.items()
            }
            chosen = select(linear, share, draw, weights=ranked, scope="layer-wise").parameters
            masks = structure.masks(kept, {name: chosen[f"{name}.weight"] for name in synapses})
            alone = False
            for group in neurons:
                alive = wired(group, {n: masks.parameters[f"{n}.weight"] for n in synapses})
                alive[scores[group.name].topk(min(self.minimum_width, group.size)).indices] = True
                alone |= bool((kept[group.name] & ~alive).any())
                kept[group.name] = kept[group.name] & alive
            if not alone:  # else the synapses on the other side of the dead neurons are free
                return masks

    def _parts(self) -> tuple[Structure, Structure]:
        """Return the convolutions with their channels, and the linear layers without units."""
        whole = self.context.structure
        conv = tuple(layer for layer in whole.layers if layer.kind == "conv")
        linear = tuple(layer for layer in whole.layers if layer.kind == "linear")
        names = {layer.name for layer in conv}
        channels = tuple(group for group in whole.groups if group.name in names)
        return Structure(conv, whole.shapes, channels), Structure(linear, whole.shapes)
