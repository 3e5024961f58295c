"""How many units and weights a run kept: what changed, each time that its masks did."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec import field

from pipelines.common.structs import Struct, as_json

if TYPE_CHECKING:
    from baselines.shared.groups import Structure
    from baselines.shared.masks import Masks


class Moment(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Numbers that changed; what was never named is whole.

    Parameters
    ----------
    progress
        Spent part of the budget when the method was asked; 0 before the first training step.
    units
        Group -> kept units.
    weights
        Layer -> kept weights. One that is not named has all that its kept units leave.
    steps
        Layer -> (unit, time step) pairs of kept units that may spike; likewise.
    """

    progress: float
    units: dict[str, int] = field(default_factory=dict)
    weights: dict[str, int] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)

    def then(self, change: Moment) -> Moment:
        """Return all numbers after a change."""
        return Moment(
            progress=change.progress,
            units=self.units | change.units,
            weights=self.weights | change.weights,
            steps=self.steps | change.steps,
        )


#: Where every run begins.
WHOLE = Moment(progress=0.0)


class Trajectory(Struct, frozen=True, kw_only=True):
    """A whole run.

    Parameters
    ----------
    restarts
        Progress values at which training started anew.
    moments
        One for each change, in the order of time.
    """

    restarts: tuple[float, ...] = ()
    moments: tuple[Moment, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 of all that it holds."""
        text = json.dumps(as_json(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def revives(self) -> bool:
        """Whether some group ever has more units than before."""
        kept: dict[str, int] = {}
        for moment in self.moments:
            if any(number > kept.get(name, number) for name, number in moment.units.items()):
                return True
            kept |= moment.units
        return False


class Tally:
    """Counts what masks keep, and notes what changed.

    Parameters
    ----------
    structure
        What can be pruned.
    """

    def __init__(self, structure: Structure) -> None:
        self.structure = structure
        self.now = WHOLE
        self.moments: list[Moment] = []

    def add(self, masks: Masks, progress: float) -> None:
        """Count the masks that a method gave at this progress."""
        structure, now = self.structure, self.now
        units = {name: int(kept.sum()) for name, kept in masks.units.items()}
        weights = {x.name: masks.kept(x.weight, x.size) for x in structure.layers}
        alive = {name: masks.units[structure.group_of(name).name] for name in masks.steps}
        pairs = {name: kept[alive[name]] for name, kept in masks.steps.items()}
        change = Moment(
            progress=progress,
            units=_changed(units, now.units, {g.name: g.size for g in structure.groups}),
            weights=_changed(weights, now.weights, structure.count(masks.units)),
            steps=_changed(
                {name: int(kept.sum()) for name, kept in pairs.items()},
                now.steps,
                {name: kept.numel() for name, kept in pairs.items()},
            ),
        )
        if change.units or change.weights or change.steps:
            self.moments.append(change)
            self.now = now.then(change)


def _changed(
    here: Mapping[str, int], before: Mapping[str, int], whole: Mapping[str, int]
) -> dict[str, int]:
    return {name: n for name, n in here.items() if n != before.get(name, whole[name])}
