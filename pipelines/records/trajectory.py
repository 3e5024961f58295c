"""The trajectory of a run: its numbers of kept units, weights and time steps at each change."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec import field

from pipelines.common.structs import Count, Share, Struct, as_json

if TYPE_CHECKING:
    from baselines.shared.groups import Structure
    from baselines.shared.masks import Masks


class Moment(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One change of the masks: the numbers that it changed.

    A group or layer that is not named keeps its number. A group or layer that no moment has named
    yet is not pruned by itself: it keeps all units, or all weights and time steps of its kept
    units.

    Parameters
    ----------
    progress
        Fraction of the budget spent when the method gave the masks, in [0, 1]; 0 before the first
        training step.
    units
        Group -> number of kept units.
    weights
        Layer -> number of kept weights.
    steps
        Layer -> number of (unit, time step) pairs of kept units that may spike.
    """

    progress: Share
    units: dict[str, Count] = field(default_factory=dict)
    weights: dict[str, Count] = field(default_factory=dict)
    steps: dict[str, Count] = field(default_factory=dict)

    def then(self, change: Moment) -> Moment:
        """Return all numbers after a later change, where `self` holds all numbers before it."""
        return Moment(
            progress=change.progress,
            units=self.units | change.units,
            weights=self.weights | change.weights,
            steps=self.steps | change.steps,
        )


#: The start of every run: nothing is pruned.
WHOLE = Moment(progress=0.0)


class Trajectory(Struct, frozen=True, kw_only=True):
    """All changes of the masks in a run.

    Parameters
    ----------
    restarts
        Progress values in (0, 1) at which optimizer and learning-rate schedule restart.
    moments
        One for each change of the masks, in order of time.
    """

    restarts: tuple[Share, ...] = ()
    moments: tuple[Moment, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 of the restarts and moments."""
        text = json.dumps(as_json(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def revives(self) -> bool:
        """Whether the number of kept units of some group ever rises."""
        kept: dict[str, int] = {}
        for moment in self.moments:
            for group, number in moment.units.items():
                if number > kept.get(group, number):
                    return True
            kept |= moment.units
        return False


class TrajectoryRecorder:
    """Records the moments of a trajectory: counts what masks keep, and notes what changed.

    Parameters
    ----------
    structure
        The prunable layers and unit groups.

    Attributes
    ----------
    now
        All numbers after the last change.
    moments
        The changes so far.
    """

    def __init__(self, structure: Structure) -> None:
        self.structure = structure
        self.now = WHOLE
        self.moments: list[Moment] = []

    def add(self, masks: Masks, progress: float) -> None:
        """Add the masks that a method gave at this progress, if they change a number."""
        structure = self.structure
        units = {group: int(kept.sum()) for group, kept in masks.units.items()}
        all_units = {group.name: group.size for group in structure.groups}
        weights = {layer.name: masks.kept(layer.weight, layer.size) for layer in structure.layers}
        steps, all_steps = {}, {}
        for layer, may_spike in masks.steps.items():
            kept_units = masks.units[structure.group_of(layer).name]
            steps[layer] = int(may_spike[kept_units].sum())
            all_steps[layer] = may_spike[kept_units].numel()
        change = Moment(
            progress=progress,
            units=_changed(units, self.now.units, all_units),
            weights=_changed(weights, self.now.weights, structure.count(masks.units)),
            steps=_changed(steps, self.now.steps, all_steps),
        )
        if change.units or change.weights or change.steps:
            self.moments.append(change)
            self.now = self.now.then(change)


def _changed(
    now: Mapping[str, int], before: Mapping[str, int], unpruned: Mapping[str, int]
) -> dict[str, int]:
    """Return the numbers that differ from the last ones, or from those without pruning."""
    return {
        name: number for name, number in now.items() if number != before.get(name, unpruned[name])
    }
