"""How many units and weights a run kept, each time that its masks changed."""

from __future__ import annotations

import hashlib
import json

from pydantic import BaseModel, ConfigDict

from baselines.groups import Structure
from baselines.masks import Masks


class Moment(BaseModel):
    """What was kept from one change of the masks until the next.

    Parameters
    ----------
    progress
        Spent part of the budget when the method was asked.
    units
        Group -> kept units; empty where single weights alone are pruned.
    weights
        Layer -> kept weights, where they are fewer than the units leave.
    steps
        Layer -> (unit, time step) pairs of kept units that may spike, where steps are pruned.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    progress: float
    units: dict[str, int] = {}
    weights: dict[str, int] = {}
    steps: dict[str, int] = {}

    def same_counts(self, other: Moment) -> bool:
        """Whether both keep the same numbers, whenever that was."""
        return self == other.model_copy(update={"progress": self.progress})


class Trajectory(BaseModel):
    """Counts over a whole run.

    Parameters
    ----------
    restarts
        Progress values at which training started anew.
    moments
        One for each change of a count, in the order of time.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    restarts: tuple[float, ...] = ()
    moments: tuple[Moment, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 of all that it holds."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def revives(self) -> bool:
        """Whether some group ever has more units than before."""
        pairs = zip(self.moments, self.moments[1:], strict=False)
        return any(b.units.get(name, n) > n for a, b in pairs for name, n in a.units.items())


def count(structure: Structure, masks: Masks, progress: float) -> Moment:
    """Count what masks keep."""
    left = structure.count(masks.units)
    kept = {layer.name: masks.kept(layer.weight, layer.size) for layer in structure.layers}
    steps = {
        layer: int(pairs[masks.units[structure.group_of(layer).name]].sum())
        for layer, pairs in masks.steps.items()
    }
    return Moment(
        progress=progress,
        units={name: int(units.sum()) for name, units in masks.units.items()},
        weights={name: n for name, n in kept.items() if n < left[name]},
        steps=steps,
    )
