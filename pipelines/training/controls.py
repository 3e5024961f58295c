"""Controls: runs that repeat a parent run without its choice of weights, or without its weights.

A *shuffled control* keeps, at each moment, as many units and weights of each layer as its parent
did, but chosen at random (the sanity check of arXiv 2009.08576 and 2009.11094). The difference in
accuracy is what the method's choice adds to its layer-wise densities. A *reinit control* trains the
network that its parent ended with from new weights (arXiv 1810.05270).
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
    """Prunes as many units, weights and time steps as a trajectory says, chosen at random.

    All units, weights and time steps are put into a random order before training, and the first of
    them are kept. So as a number falls, nothing that was pruned comes back. There are two
    exceptions. Where units and single weights are pruned together, pruned weights come back if the
    kept units of their layer hold too few others. Where the number of kept units rises, units come
    back, with their initial values.

    Parameters
    ----------
    trajectory
        The trajectory of the parent.
    """

    info = PrunerInfo(
        name="shuffled",
        summary="As many weights and units as another run kept, chosen at random.",
        paper="Frankle et al. 2021, Pruning neural networks at initialization, arXiv 2009.08576",
        granularities=("structured", "unstructured", "hybrid", "spatio-temporal"),
        tracks=("from-scratch", "post-training"),
    )

    trajectory: Trajectory
    done: int = field(default=0, init=False)  # moments that were applied
    kept: Moment = field(default=WHOLE, init=False)  # numbers after the last of them
    masks_now: Masks = field(default_factory=Masks, init=False)

    def begin(self, network: nn.Module, context: PruneContext) -> None:
        """Draw the random order of all units, weights and time steps."""
        super().begin(network, context)
        self.done, self.kept, self.masks_now = 0, WHOLE, Masks()
        groups, layers = context.structure.groups, context.structure.layers
        shapes: dict[str, tuple[int, ...]] = {}
        for group in groups:
            shapes[f"units {group.name}"] = (group.size,)
        for layer in layers:
            shapes[f"weights {layer.name}"] = layer.shape
        for layer in layers:
            shapes[f"steps {layer.name}"] = (layer.shape[0], context.steps)
        self.order = {
            name: torch.randperm(math.prod(shape), generator=context.generator).view(shape)
            for name, shape in shapes.items()
        }
        self.start: dict[str, Tensor] = {}  # initial values, if units come back
        if self.trajectory.revives:
            for name, parameter in network.named_parameters():
                self.start[name] = parameter.detach().clone()

    def restarts(self) -> tuple[float, ...]:
        """Return the restarts of the parent, so that both have the same learning rates."""
        return self.trajectory.restarts

    def due(self, progress: float) -> bool:
        """Whether the progress of the next moment is reached."""
        moments = self.trajectory.moments
        return self.done < len(moments) and progress >= moments[self.done].progress - 1e-9

    @torch.no_grad()
    def masks(self, progress: float) -> Masks | None:
        """Apply all moments that are reached; None if there is none."""
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
        """Choose units, then weights and time steps of these units, by the random order."""
        structure, kept, now = self.context.structure, self.kept, self.masks_now
        units = {}
        for group in structure.groups:
            number = kept.units.get(group.name, group.size)
            units[group.name] = self.order[f"units {group.name}"] < number
        of_units = structure.masks(units).parameters  # masks that keep all weights of kept units
        weights = {}
        for layer in structure.layers:
            if layer.name in kept.weights:
                everything = torch.ones(layer.shape, dtype=torch.bool)
                weights[layer.name] = _first(
                    self.order[f"weights {layer.name}"],
                    kept.weights[layer.name],
                    allowed=of_units.get(layer.weight, everything),
                    preferred=now.parameters.get(layer.weight, everything),
                )
        steps = {}
        for name, number in kept.steps.items():
            order = self.order[f"steps {name}"]
            allowed = units[structure.group_of(name).name].unsqueeze(1).expand_as(order)
            preferred = now.steps.get(name, allowed)
            steps[name] = _first(order, number, allowed=allowed, preferred=preferred)
        masks = structure.masks(units, weights)
        return Masks(masks.parameters, masks.units, steps)


@dataclass
class ShuffledRegrowing(Shuffled):
    """A shuffled control whose units come back, so that live shrink must not remove them."""

    info = replace(Shuffled.info, regrows=True)


def check_parent(spec: RunSpec, parent: RunRecord | None) -> None:
    """Check that a control can follow its parent; other cells have nothing to check.

    Parameters
    ----------
    spec
        The cell.
    parent
        The record of the cell's parent, if there is one.

    Raises
    ------
    InputError
        If `spec` is a control, and its parent has no record, or has a status other than ``ok``.
    """
    if not spec.control:
        return
    if parent is None or parent.run_id != spec.parent.run_id:
        raise InputError(
            f"a {spec.control} control follows its parent: run {spec.parent.label()} first."
        )
    if parent.status != "ok" or parent.outcome is None:
        raise InputError(
            f"{spec.parent.label()} is {parent.status}; a {spec.control} control can only follow a "
            "run that is ok."
        )


def follower(trajectory: Trajectory) -> Shuffled:
    """Build the method of the shuffled control that follows a trajectory."""
    if trajectory.revives:
        return ShuffledRegrowing(trajectory)
    return Shuffled(trajectory)


def _first(order: Tensor, number: int, *, allowed: Tensor, preferred: Tensor) -> Tensor:
    """Return a mask of the first `number` allowed entries, preferred entries before others."""
    size = order.numel()
    rank = order + size * (~preferred).long()  # preferred: 0 to size - 1; others: from size on
    rank = rank.masked_fill(~allowed, 2 * size).flatten()
    kept = torch.zeros(size, dtype=torch.bool)
    kept[rank.topk(number, largest=False).indices] = True
    return kept.view_as(order)
