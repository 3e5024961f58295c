"""Controls of single runs: what the choice of a method adds to the number that it keeps.

``shuffled`` keeps as many units and weights of each layer as its parent did at each moment, but
chosen at random: the sanity check of arXiv 2009.08576 and 2009.11094. ``reinit`` trains the
network that its parent ended with, from new weights (arXiv 1810.05270).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from baselines.shared.contract import PruneContext, Pruner, PrunerInfo
from baselines.shared.masks import Masks
from pipelines.common.errors import InputError
from pipelines.records.record import RunRecord
from pipelines.records.trajectory import WHOLE, Moment, Trajectory
from pipelines.settings.spec import RunSpec


@dataclass
class Shuffled(Pruner):
    """Keep what a trajectory says, chosen by one random order, drawn before training.

    What is gone stays gone as counts fall. Where units and single weights are pruned together, a
    weight may come back if its layer's kept units hold too few others. Units that come back,
    because their number rises, have the values of the start.

    Parameters
    ----------
    trajectory
        Of the parent.
    """

    info = PrunerInfo(
        name="shuffled",
        summary="The numbers of another run, at random places.",
        paper="Frankle et al. 2021, Pruning neural networks at initialization, arXiv 2009.08576",
        granularities=("structured", "unstructured", "hybrid", "spatio-temporal"),
        tracks=("from-scratch", "post-training"),
    )

    trajectory: Trajectory
    done: int = field(default=0, init=False)
    kept: Moment = field(default=WHOLE, init=False)
    masks_now: Masks = field(default_factory=Masks, init=False)

    def begin(self, network: nn.Module, context: PruneContext) -> None:
        """Draw the order of all units, weights and time steps."""
        super().begin(network, context)
        self.done, self.kept, self.masks_now = 0, WHOLE, Masks()
        groups, layers = context.structure.groups, context.structure.layers
        sizes: dict[str, tuple[int, ...]] = {f"units {g.name}": (g.size,) for g in groups}
        sizes |= {f"weights {x.name}": x.shape for x in layers}
        sizes |= {f"steps {x.name}": (x.shape[0], context.steps) for x in layers}
        self.order = {
            name: torch.randperm(math.prod(shape), generator=context.generator).view(shape)
            for name, shape in sizes.items()
        }
        self.start = {
            name: p.detach().clone()
            for name, p in network.named_parameters()
            if self.trajectory.revives
        }

    def restarts(self) -> tuple[float, ...]:
        """Return the parent's restarts, for the same learning rates."""
        return self.trajectory.restarts

    def due(self, progress: float) -> bool:
        """Whether the next change is reached."""
        moments = self.trajectory.moments
        return self.done < len(moments) and progress >= moments[self.done].progress - 1e-9

    @torch.no_grad()
    def masks(self, progress: float) -> Masks | None:
        """Keep what the last moment reached says."""
        if not self.due(progress):
            return None
        while self.due(progress):
            self.kept = self.kept.then(self.trajectory.moments[self.done])
            self.done += 1
        masks = self._choose()
        for name, start in self.start.items():
            if name in masks.parameters and name in self.masks_now.parameters:
                back = masks.parameters[name] & ~self.masks_now.parameters[name]
                parameter = self.network.get_parameter(name)
                parameter.copy_(torch.where(back.to(parameter.device), start, parameter))
        self.masks_now = masks
        return masks

    def _choose(self) -> Masks:
        structure, kept, now = self.context.structure, self.kept, self.masks_now
        units = {
            group.name: self.order[f"units {group.name}"] < kept.units.get(group.name, group.size)
            for group in structure.groups
        }
        left = structure.masks(units).parameters
        weights = {}
        for layer in structure.layers:
            if layer.name in kept.weights:
                order = self.order[f"weights {layer.name}"]
                everything = torch.ones(layer.shape, dtype=torch.bool)
                weights[layer.name] = _first(
                    order,
                    kept.weights[layer.name],
                    left.get(layer.weight, everything),
                    now.parameters.get(layer.weight, everything),
                )
        steps = {}
        for name, n in kept.steps.items():
            order = self.order[f"steps {name}"]
            there = units[structure.group_of(name).name].unsqueeze(1).expand_as(order)
            steps[name] = _first(order, n, there, now.steps.get(name, there))
        masks = structure.masks(units, weights)
        return Masks(masks.parameters, masks.units, steps)


@dataclass
class ShuffledRegrowing(Shuffled):
    """The same where units come back: none may be removed for good."""

    info = replace(Shuffled.info, regrows=True)


def check_parent(spec: RunSpec, parent: RunRecord | None) -> None:
    """Raise InputError unless the parent of a control has run to a good end.

    Raises
    ------
    InputError
        If it has no record, or its status is not ``ok``.
    """
    if not spec.control:
        return
    if parent is None or parent.run_id != spec.parent.run_id:
        raise InputError(
            f"a {spec.control} control follows its parent: run {spec.parent.label()} before it."
        )
    if parent.status != "ok" or parent.outcome is None:
        raise InputError(
            f"{spec.parent.label()} is {parent.status}; a {spec.control} control follows runs that "
            "are ok."
        )


def follower(trajectory: Trajectory) -> Shuffled:
    """Build the shuffled control of a run."""
    return (ShuffledRegrowing if trajectory.revives else Shuffled)(trajectory)


def _first(order: Tensor, number: int, allowed: Tensor, preferred: Tensor) -> Tensor:
    """Mark the first `number` allowed entries, preferred ones before others."""
    size = order.numel()
    rank = (order + size * (~preferred).long()).masked_fill(~allowed, 2 * size).flatten()
    kept = torch.zeros(size, dtype=torch.bool)
    kept[rank.topk(number, largest=False).indices] = True
    return kept.view_as(order)
