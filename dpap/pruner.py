"""DPAP as a pruning method: it joins the states of all layers and derives masks from survival."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from baselines.shared.activity import Activity
from baselines.shared.contract import PruneContext, Pruner, PrunerInfo
from baselines.shared.masks import Masks
from baselines.shared.schedules import UpdateClock, check_window
from baselines.shared.selection import select
from dpap.layer import Evidence, LayerState
from dpap.plasticity import Rule
from dpap.presets import Preset


@dataclass
class DPAP(Preset, Pruner):
    """Developmental plasticity-inspired adaptive pruning (arXiv 2211.12714).

    Important units, which are active and have high plasticity, keep their survival. The survival of
    the others decays, and a unit is pruned when its survival falls below zero. Without a target
    density this rule alone determines the density (emergent). With a target density, the cubic
    schedule determines how much is pruned, and the lowest survivals are pruned first.

    Granularity ``structured`` prunes convolution channels and neurons. ``hybrid``, the form of the
    paper, prunes synapses of linear layers as well. All fields of `dpap.presets.Preset` are
    hyper-parameters too.

    Parameters
    ----------
    updates
        Number of survival updates per run, evenly spread; one corresponds to an epoch of the paper.
    stop
        Progress, in (0, 1], at which a target density is reached.
    minimum_width
        Number of units that every layer keeps, whatever their survival.
    rule
        Plasticity rule: ``bcm`` as in the paper, or ``hebb`` or ``stdp`` (Figure 3(g) of the
        paper).
    evidence
        Importance of a unit: its ``trace``, its ``plasticity``, or the product of ``both`` as in
        the paper.
    prune
        What granularity ``hybrid`` prunes: ``units``, ``synapses`` or ``both``.
    threshold
        With a target density, the lowest survivals are pruned ``per-layer``, so that all layers
        lose the same share, or below one ``global`` threshold of all layers. The rule of the paper
        has the global threshold zero.
    """

    info = PrunerInfo(
        name="dpap",
        summary="Units and synapses survive by their activity and BCM plasticity.",
        paper="Han, Zhao, Zeng, Shen 2025, TPAMI 47(1):240-251, arXiv 2211.12714",
        granularities=("structured", "hybrid"),
        tracks=("from-scratch", "post-training"),
        emergent=True,
        needs_activity=True,
        aims_at_synops=True,
    )

    updates: int = 100
    stop: float = 0.6
    minimum_width: int = 1
    rule: Rule = "bcm"
    evidence: Evidence = "both"
    prune: Literal["both", "units", "synapses"] = "both"
    threshold: Literal["per-layer", "global"] = "per-layer"

    def __post_init__(self) -> None:
        check_window(min(self.first_update / self.updates, self.stop), self.stop, self.updates)
        if self.minimum_width < 1:
            raise ValueError(f"minimum_width must be at least 1, not {self.minimum_width}")

    @classmethod
    def from_preset(cls, preset: Preset, **options: Any) -> Self:
        """Build a pruner from a preset.

        Parameters
        ----------
        preset
            `dpap.PAPER`, `dpap.RELEASED`, or your own.
        options
            Hyper-parameters that differ from the preset or from the defaults.
        """
        return cls(**(asdict(preset) | options))

    def begin(self, network: nn.Module, context: PruneContext) -> None:
        """Start with full survival everywhere.

        Parameters
        ----------
        network
            The dense network.
        context
            What the method may use during this run.

        Raises
        ------
        ValueError
            If the rule or the granularity needs at least two time steps, and the network has one.
        """
        super().begin(network, context)
        temporal = context.granularity == "spatio-temporal"
        if context.steps < 2 and (self.rule == "stdp" or temporal):
            what = "rule 'stdp'" if self.rule == "stdp" else "pruning time steps"
            raise ValueError(
                f"{what} needs at least 2 time steps; this network has one: use a spiking network"
            )
        self.clock = UpdateClock(self.updates)
        self.finished = False
        self.survivals: dict[str, Tensor] | None = None
        hybrid = context.granularity != "structured" and self.prune != "units"
        self.layers = {
            layer.name: LayerState(
                layer.kind,
                layer.outputs,
                layer.inputs,
                self,
                rule=self.rule,
                evidence=self.evidence,
                synapses=hybrid and layer.kind == "linear",
                steps=context.steps if temporal and layer.drives is None else 0,
            )
            for layer in context.structure.layers
        }
        groups = context.structure.groups
        self.alive = {g.name: torch.ones(g.size, dtype=torch.bool) for g in groups}
        self.connected = {
            name: torch.ones(state.synapse_survival.shape, dtype=torch.bool)
            for name, state in self.layers.items()
            if state.synapse_survival is not None
        }
        self.firing = {
            name: torch.ones(state.time_survival.shape, dtype=torch.bool)
            for name, state in self.layers.items()
            if state.time_survival is not None
        }

    @torch.no_grad()
    def observe(self, activity: Activity) -> None:
        """Add a batch to the traces and the plasticity of every layer."""
        if self.finished:
            return
        for name, layer in self.layers.items():
            if name in activity:
                layer.observe(*activity.units(name))

    def last_unit_scores(self) -> dict[str, Tensor] | None:
        """Return the survival of units at the last update, inf if units are not pruned."""
        return self.survivals

    def due(self, progress: float) -> bool:
        """Whether a survival update is due."""
        return not self.finished and self.clock.ahead(progress)

    @torch.no_grad()
    def masks(self, progress: float) -> Masks | None:
        """Update the survival if an update is due, and prune.

        Until `first_update` updates are done, only the traces and the threshold are updated.
        """
        if self.finished or not self.clock.due(progress):
            return None
        age = self.clock.done - 1 - self.first_update
        for state in self.layers.values():
            if age >= 0:
                state.update(age)
            state.end_update()
        if age < 0:
            return None
        units, synapses = self._survivals()
        self.survivals = units
        masks = (
            self._emergent(units, synapses)
            if self.context.emergent
            else self._matched(units, synapses, progress)
        )
        self.alive = dict(masks.units)
        self.connected = {name: masks.parameters[f"{name}.weight"] for name in self.connected}
        for name in self.firing:
            survival = self.layers[name].time_survival
            assert survival is not None
            self.firing[name] = self.firing[name] & (survival.cpu() >= 0)
        return replace(masks, steps=dict(self.firing))

    def _survivals(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the survival of units by group and of synapses by layer; -inf if pruned.

        The survival of a unit is the mean over the layers of its group. It is inf if units are not
        pruned.
        """
        units = {}
        for group in self.context.structure.groups:
            members = [
                group.of_units(name, self.layers[name].unit_survival.cpu())
                for name in group.producers
            ]
            mean = torch.stack(members).mean(0)
            if self.context.granularity != "structured" and self.prune == "synapses":
                mean = torch.full_like(mean, torch.inf)
            units[group.name] = mean.masked_fill(~self.alive[group.name], -torch.inf)
        synapses = {
            name: state.synapse_survival.cpu().masked_fill(~self.connected[name], -torch.inf)
            for name, state in self.layers.items()
            if state.synapse_survival is not None
        }
        return units, synapses

    def _emergent(self, units: Mapping[str, Tensor], synapses: Mapping[str, Tensor]) -> Masks:
        """Prune what has a survival below zero, except for the best units of every layer."""
        kept = {}
        for name, value in units.items():
            kept[name] = value >= 0
            kept[name][value.topk(min(self.minimum_width, value.numel())).indices] = True
        return self.context.structure.masks(kept, {k: v >= 0 for k, v in synapses.items()})

    def _matched(
        self, units: Mapping[str, Tensor], synapses: Mapping[str, Tensor], progress: float
    ) -> Masks:
        """Prune the lowest survivals, at the density of the schedule."""
        self.finished = progress >= self.stop

        def chosen(density: float) -> Masks:
            return select(
                self.context.structure,
                density,
                self.context.generator,
                units=units,
                weights=synapses or None,
                scope="global" if self.threshold == "global" else "layer-wise",
                exact=self.finished or self.prune == "synapses",
                minimum_width=self.minimum_width,
            )

        start = self.first_update / self.updates
        return self.context.select(chosen, progress, start, self.stop)


@dataclass
class SpatioTemporalDPAP(DPAP):
    """DPAP's joint form: it prunes as ``hybrid`` does, and also time steps of units.

    The survival of a (unit, time step) pair follows from its importance, equation (8), by equations
    (9) to (11). When it falls below zero, the unit is silenced in this time step: no layer receives
    its spikes. A target density refers to weights; the share of silenced time steps is emergent.
    """

    info = replace(
        DPAP.info,
        name="dpap-st",
        summary="DPAP's joint form: units, synapses and single time steps of units.",
        granularities=("spatio-temporal",),
        needs_spikes=True,
    )
