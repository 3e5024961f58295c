"""DPAP as a pruner: traces, plasticity, importance and survival, joined for a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from baselines.api import Activity, PruneContext, Pruner, PrunerInfo
from baselines.groups import PrunableLayer
from baselines.masks import Masks
from baselines.schedules import UpdateClock, check_window, cubic_density
from baselines.selection import select
from dpap.importance import unit_importance
from dpap.plasticity import SlidingThreshold, bcm
from dpap.presets import PAPER
from dpap.survival import SurvivalConstants, survival
from dpap.traces import trace


class LayerState:
    """What DPAP remembers of one layer.

    Parameters
    ----------
    layer
        The layer.
    constants
        Survival constants of its kind.
    beta
        Survival at the start.
    synapses
        Whether single synapses are followed too.
    """

    def __init__(
        self, layer: PrunableLayer, constants: SurvivalConstants, beta: float, synapses: bool
    ) -> None:
        self.layer = layer
        self.constants = constants
        self.threshold = SlidingThreshold()
        outputs, inputs = layer.shape[:2]
        self.unit_survival = torch.full((outputs,), beta)
        self.synapse_survival = torch.full((outputs, inputs), beta) if synapses else None
        self.reset()

    def reset(self) -> None:
        """Forget the sums since the last update."""
        self.plasticity: Tensor | None = None
        self.importance: Tensor | None = None

    def observe(self, pre: Tensor, post: Tensor) -> None:
        """Add one batch of traces, [B, inputs] and [B, outputs]; equations (3) to (7)."""
        change = bcm(pre, post, self.threshold.current(post))
        self.threshold.update(post)
        importance = unit_importance(post, change)
        self.plasticity = change if self.plasticity is None else self.plasticity + change
        self.importance = importance if self.importance is None else self.importance + importance

    def update(self, gamma: float, age: int) -> None:
        """Turn the sums since the last update into survival, if anything was observed."""
        if self.importance is None or self.plasticity is None:
            return
        self.unit_survival = survival(
            self.unit_survival.to(self.importance), self.importance, self.constants, gamma, age
        )
        if self.synapse_survival is not None:
            self.synapse_survival = survival(
                self.synapse_survival.to(self.plasticity),
                self.plasticity,
                self.constants,
                gamma,
                age,
            )


@dataclass
class DPAP(Pruner):
    """Developmental plasticity-inspired adaptive pruning (arXiv 2211.12714).

    Active units whose plasticity rises survive; the rest decays and is pruned when its
    survival falls below zero. Without a target density that is the whole rule (emergent).
    With one, survival decides who goes and the cubic schedule how many.

    ``structured`` prunes conv channels and neurons; ``hybrid``, the paper's form, prunes the
    synapses of linear layers as well.

    Parameters
    ----------
    updates
        Survival updates per run, spread evenly; one stands for an epoch of the paper.
    stop
        Progress, in (0, 1], at which a target density is reached.
    minimum_width
        Units that every layer keeps, whatever their survival.
    tau, gamma, beta, first_update, conv_bonus, linear_bonus, conv_epsilon, linear_epsilon, \
conv_eta, linear_eta
        See `dpap.presets.Preset`.
    """

    info = PrunerInfo(
        name="dpap",
        summary="Units and synapses survive by their activity and BCM plasticity.",
        paper="Han, Zhao, Zeng, Shen 2025, TPAMI 47(1):240-251, arXiv 2211.12714",
        granularities=("structured", "hybrid"),
        emergent=True,
        needs_activity=True,
    )

    updates: int = 100
    stop: float = 0.6
    minimum_width: int = 1
    tau: float = PAPER.tau
    gamma: float = PAPER.gamma
    beta: float = PAPER.beta
    first_update: int = PAPER.first_update
    conv_bonus: float = PAPER.conv_bonus
    linear_bonus: float = PAPER.linear_bonus
    conv_epsilon: float = PAPER.conv_epsilon
    linear_epsilon: float = PAPER.linear_epsilon
    conv_eta: float = PAPER.conv_eta
    linear_eta: float = PAPER.linear_eta

    def __post_init__(self) -> None:
        check_window(min(self.first_update / self.updates, self.stop), self.stop, self.updates)
        if self.minimum_width < 1:
            raise ValueError(f"minimum_width must be at least 1, not {self.minimum_width}")

    def begin(self, network: nn.Module, context: PruneContext) -> None:
        """Start with full survival everywhere."""
        super().begin(network, context)
        self.clock = UpdateClock(self.updates)
        self.finished = False
        constants = {
            "conv": SurvivalConstants(self.conv_epsilon, self.conv_eta, self.conv_bonus),
            "linear": SurvivalConstants(self.linear_epsilon, self.linear_eta, self.linear_bonus),
        }
        hybrid = context.granularity == "hybrid"
        self.layers = {
            layer.name: LayerState(
                layer, constants[layer.kind], self.beta, hybrid and layer.kind == "linear"
            )
            for layer in context.structure.layers
        }
        self.alive = {
            group.name: torch.ones(group.size, dtype=torch.bool)
            for group in context.structure.groups
        }
        self.connected = {
            name: torch.ones(state.layer.shape, dtype=torch.bool)
            for name, state in self.layers.items()
            if state.synapse_survival is not None
        }

    @torch.no_grad()
    def observe(self, activity: Activity) -> None:
        """Add a batch to the traces and the plasticity of every layer."""
        if self.finished:
            return
        for name, (pre, post) in activity.items():
            if name in self.layers:
                self.layers[name].observe(trace(pre, self.tau), trace(post, self.tau))

    @torch.no_grad()
    def masks(self, progress: float) -> Masks | None:
        """Update survival when an update is due, and prune what fell below zero."""
        if self.finished or not self.clock.due(progress):
            return None
        age = self.clock.done - 1 - self.first_update
        for state in self.layers.values():
            if age >= 0:
                state.update(self.gamma, age)
            state.reset()
        if age < 0:
            return None
        units, synapses = self._survivals()
        target = self.context.density
        masks = (
            self._emergent(units, synapses)
            if target is None
            else self._matched(units, synapses, progress, target)
        )
        self.alive = dict(masks.units)
        self.connected = {name: masks.parameters[f"{name}.weight"] for name in self.connected}
        return masks

    def _survivals(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Survival of units per group, and of synapses per layer; the dead are at -inf."""
        units = {}
        for group in self.context.structure.groups:
            members = [self.layers[name].unit_survival.cpu() for name in group.producers]
            mean = torch.stack(members).mean(0)
            units[group.name] = mean.masked_fill(~self.alive[group.name], -torch.inf)
        synapses = {
            name: state.synapse_survival.cpu().masked_fill(~self.connected[name], -torch.inf)
            for name, state in self.layers.items()
            if state.synapse_survival is not None
        }
        return units, synapses

    def _emergent(self, units: Mapping[str, Tensor], synapses: Mapping[str, Tensor]) -> Masks:
        """Prune below zero, but leave every layer its most viable units."""
        kept = {}
        for name, value in units.items():
            kept[name] = value >= 0
            kept[name][value.topk(min(self.minimum_width, value.numel())).indices] = True
        return self.context.structure.masks(kept, {k: v >= 0 for k, v in synapses.items()})

    def _matched(
        self,
        units: Mapping[str, Tensor],
        synapses: Mapping[str, Tensor],
        progress: float,
        target: float,
    ) -> Masks:
        """Prune the least viable of every layer, as many as the schedule asks."""
        self.finished = progress >= self.stop
        start = self.first_update / self.updates
        return select(
            self.context.structure,
            cubic_density(progress, start, self.stop, target),
            self.context.generator,
            units=units,
            weights=synapses or None,
            scope="layer-wise",
            exact=self.finished,
            minimum_width=self.minimum_width,
        )
