"""DPAP with trophic support: a unit lives on what the units that read its spikes return to it.

The update of DPAP's survival is replaced. The support of units and synapses (`dpap.support`) needs
local quantities only: weights, mean activities, and the support of the reading unit. At each of
`updates` updates the support T, divided by its mean over the layer, enters a running mean

    F <- memory F + (1 - memory) T / mean(T).

The lowest F of every layer are pruned, units and synapses, at the density of the cubic schedule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from baselines.shared.activity import Activity
from baselines.shared.contract import PruneContext, Pruner, PrunerInfo
from baselines.shared.masks import Masks
from baselines.shared.schedules import UpdateClock, check_window
from baselines.shared.selection import select
from dpap.support import trophic_support


def update_mean(means: dict[str, Tensor], name: str, now: Tensor, weight: float) -> None:
    """Update a running mean in `means`; `weight` is that of the previous mean."""
    means[name] = torch.lerp(now, means.get(name, now), weight)


@dataclass
class TrophicDPAP(Pruner):
    """Prune the units and synapses of the lowest trophic support.

    Granularity ``structured`` prunes convolution channels and neurons. ``hybrid`` prunes synapses
    of linear layers as well. Without a target density, the support alone determines the density
    (emergent): what has an F below `threshold` is pruned. The total support of a layer does not
    depend on its number of units, so those that remain have more of it, and pruning ends by itself.

    Parameters
    ----------
    start, stop
        Progress, in [0, 1], at which pruning starts, and at which the target density is reached.
    updates
        Number of updates of F per run, evenly spread.
    memory
        Weight of the previous F in the running mean, in [0, 1).
    momentum
        Weight of the previous mean in the running means of the activity, per batch, in [0, 1).
    threshold
        F below which units and synapses die if there is no target density; 1 is the mean of a
        dense layer.
    minimum_width
        Number of units that every layer keeps, whatever their support.
    """

    info = PrunerInfo(
        name="dpap-trophic",
        summary="Units and synapses live on the support that their readers return to them.",
        paper="DPAP, arXiv 2211.12714, with support in the manner of NISP, arXiv 1711.05908",
        granularities=("structured", "hybrid"),
        tracks=("from-scratch", "post-training"),
        emergent=True,
        needs_activity=True,
        aims_at_synops=True,
    )

    start: float = 0.25
    stop: float = 0.6
    updates: int = 100
    memory: float = 0.9
    momentum: float = 0.9
    threshold: float = 1.0
    minimum_width: int = 1

    def __post_init__(self) -> None:
        check_window(self.start, self.stop, self.updates)
        for name in ("memory", "momentum"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be in [0, 1), not {getattr(self, name)}")
        if self.threshold < 0:
            raise ValueError(f"threshold must be at least 0, not {self.threshold}")
        if self.minimum_width < 1:
            raise ValueError(f"minimum_width must be at least 1, not {self.minimum_width}")

    def begin(self, network: nn.Module, context: PruneContext) -> None:
        """Start the clock; all units and synapses are alive, and no support is known."""
        super().begin(network, context)
        self.clock = UpdateClock(self.updates)
        self.finished = False
        structure, hybrid = context.structure, context.granularity != "structured"
        self.alive = {g.name: torch.ones(g.size, dtype=torch.bool) for g in structure.groups}
        self.connected = {
            layer.name: torch.ones(layer.shape, dtype=torch.bool)
            for layer in structure.layers
            if hybrid and layer.kind == "linear"
        }
        self.activity: dict[str, Tensor] = {}  # of the readers, [inputs]
        self.units: dict[str, Tensor] = {}  # F by group
        self.synapses: dict[str, Tensor] = {}  # F by layer

    @torch.no_grad()
    def observe(self, activity: Activity) -> None:
        """Add a batch to the running means of the input activity of every layer."""
        if self.finished:
            return
        for name in activity:
            now = activity.received(name).mean((0, 1))
            update_mean(self.activity, name, now, self.momentum)

    def due(self, progress: float) -> bool:
        """Whether an update is due."""
        return not self.finished and self.clock.ahead(progress)

    @torch.no_grad()
    def masks(self, progress: float) -> Masks | None:
        """Update F if an update is due, and from `start` on prune."""
        if self.finished or not self.clock.due(progress):
            return None
        self._remember()
        if progress < self.start:
            return None
        self.finished = progress >= self.stop
        units = {
            name: score.cpu().masked_fill(~self.alive[name], -torch.inf)
            for name, score in self.unit_scores().items()
        }
        synapses = {
            name: score.cpu().masked_fill(~self.connected[name], -torch.inf)
            for name, score in self.synapse_scores().items()
        }
        if self.context.emergent:
            masks = self._emergent(units, synapses)
        else:
            matched = partial(self._matched, units, synapses)
            masks = self.context.select(matched, progress, self.start, self.stop)
        self.alive = dict(masks.units)
        self.connected = {name: masks.parameters[f"{name}.weight"] for name in self.connected}
        return masks

    def unit_scores(self) -> Mapping[str, Tensor]:
        """Group name -> F, [units]."""
        return self.units

    def synapse_scores(self) -> Mapping[str, Tensor]:
        """Layer name -> F, [outputs, inputs], of the layers whose synapses are pruned."""
        return {name: self.synapses[name] for name in self.connected}

    def _remember(self) -> None:
        """Update the running means of the support, each relative to its mean."""
        weights = {name: self.network.get_parameter(f"{name}.weight") for name in self.activity}
        support = trophic_support(self.context.structure, weights, self.activity)
        for means, found in ((self.units, support.units), (self.synapses, support.synapses)):
            for name, now in found.items():
                relative = now / now.mean().clamp_min(1e-30)
                update_mean(means, name, relative, self.memory)

    def _matched(
        self, units: Mapping[str, Tensor], synapses: Mapping[str, Tensor], density: float
    ) -> Masks:
        """Keep the best supported units and synapses of every layer, at a density."""
        return select(
            self.context.structure,
            density,
            self.context.generator,
            units=units,
            weights=synapses or None,
            scope="layer-wise",
            exact=self.finished,
            minimum_width=self.minimum_width,
        )

    def _emergent(self, units: Mapping[str, Tensor], synapses: Mapping[str, Tensor]) -> Masks:
        """Prune what has an F below the threshold, except for the best units of every layer."""
        kept = {}
        for name, value in units.items():
            kept[name] = value >= self.threshold
            kept[name][value.topk(min(self.minimum_width, value.numel())).indices] = True
        alive = {name: value >= self.threshold for name, value in synapses.items()}
        return self.context.structure.masks(kept, alive)


@dataclass
class SpatioTemporalTrophicDPAP(TrophicDPAP):
    """Trophic support that also silences time steps: it prunes as ``hybrid`` does, and steps.

    The support of a unit at step t is T_j r_j(t) / sum_s r_j(s), where r_j(t) is the mean number of
    its spikes at step t: a reader returns support for the spikes that it reads. When it falls below
    `step_threshold`, the unit is silenced at this step for good. A target density refers to
    weights; the share of silenced steps is emergent.

    Parameters
    ----------
    step_threshold
        Support of a step below which it is silenced; 1 is the mean over all steps of the units of
        the layer that are left. Pruning raises the support of each, so a fixed bound would silence
        nothing.
    """

    info = replace(
        TrophicDPAP.info,
        name="dpap-trophic-st",
        summary="Trophic support of units, synapses and single time steps of units.",
        granularities=("spatio-temporal",),
        needs_spikes=True,
    )

    step_threshold: float = 0.7

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.step_threshold < 0:
            raise ValueError(f"step_threshold must be at least 0, not {self.step_threshold}")

    def begin(self, network: nn.Module, context: PruneContext) -> None:
        """Start as every run does; all units may spike at all steps.

        Raises
        ------
        ValueError
            If the network has only one time step.
        """
        if context.steps < 2:
            raise ValueError(
                "pruning time steps needs at least 2 time steps; this network has one: use a "
                "spiking network"
            )
        super().begin(network, context)
        self.rates: dict[str, Tensor] = {}  # spikes by layer, [units, T]
        self.firing = {
            layer.name: torch.ones(layer.shape[0], context.steps, dtype=torch.bool)
            for layer in context.structure.layers
            if layer.drives is None
        }

    @torch.no_grad()
    def observe(self, activity: Activity) -> None:
        """Add a batch to the running means of the inputs, and of the spikes at each step."""
        if self.finished:
            return
        super().observe(activity)
        for name in self.firing:
            update_mean(self.rates, name, activity.sent(name).mean(1).t(), self.momentum)

    @torch.no_grad()
    def masks(self, progress: float) -> Masks | None:
        """Prune units and synapses, and silence the steps of little support."""
        masks = super().masks(progress)
        if masks is None:
            return None
        for name, firing in self.firing.items():
            group = self.context.structure.group_of(name).name
            units, alive = self.units[group].cpu(), self.alive[group]
            rates = self.rates[name].cpu()
            relative = rates / rates.mean(1, keepdim=True).clamp_min(1e-30)
            support = units.unsqueeze(1) * relative / units[alive].mean()
            self.firing[name] = firing & (support >= self.step_threshold)
        return replace(masks, steps=dict(self.firing))
