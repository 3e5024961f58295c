"""What a run kept over its training: units and weights by layer, from its trajectory alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pipelines.data.catalogue import SOURCES
from pipelines.records.record import RunRecord
from pipelines.records.trajectory import WHOLE, Moment
from pipelines.settings.network import READOUT
from pipelines.settings.weight_shapes import weight_shapes

#: Progress and kept share, in order of time; the share holds until the next point.
Line = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class History:
    """Kept shares by layer over progress.

    Parameters
    ----------
    size
        Layer -> number of its units, and of its weights, in the dense network.
    units
        Layer -> share of kept units; only layers whose units the run prunes. In a residual network
        the first layer of a group stands for all.
    weights
        Layer -> share of kept weights. In a residual network only layers that prune weights.
    """

    size: Mapping[str, tuple[int, int]]
    units: Mapping[str, Line]
    weights: Mapping[str, Line]


def history(record: RunRecord) -> History | None:
    """Read the history of a run; None if nothing was pruned, or its data set is not known here."""
    source, moments = SOURCES.get(record.spec.settings.data), record.trajectory.moments
    if source is None or not moments:
        return None
    layout = record.spec.settings.network.layout
    if not layout:  # the network of a factory
        return None
    shapes = dict(weight_shapes(layout, source.size.shape, source.size.classes))
    del shapes[READOUT]
    chain = "[" not in layout  # each layer reads the one before it
    states = [WHOLE]
    for moment in moments:
        states.append(states[-1].then(moment))
    units = {name: _line([_units(name, shapes, s) for s in states], states) for name in shapes}
    weights = {
        name: _line([_weights(name, shapes, state, chain) for state in states], states)
        for name in shapes
    }
    named = {name for state in states for name in state.units}
    changed = {name for name, line in weights.items() if len(line) > 1}
    return History(
        size={name: (shape[0], math.prod(shape)) for name, shape in shapes.items()},
        units={name: line for name, line in units.items() if name in named},
        weights={name: line for name, line in weights.items() if chain or name in changed},
    )


def _units(name: str, shapes: Mapping[str, tuple[int, int]], state: Moment) -> float:
    return state.units.get(name, shapes[name][0]) / shapes[name][0]


def _weights(name: str, shapes: Mapping[str, tuple[int, int]], state: Moment, chain: bool) -> float:
    """Kept share of weights; without a count of its own, it follows from the kept units."""
    if name in state.weights:
        return state.weights[name] / math.prod(shapes[name])
    if not chain:
        return 1.0
    names = list(shapes)
    place = names.index(name)
    before = _units(names[place - 1], shapes, state) if place else 1.0
    return before * _units(name, shapes, state)


def _line(shares: list[float], states: list[Moment]) -> Line:
    """Points at which the share changes."""
    points: list[tuple[float, float]] = []
    for share, state in zip(shares, states, strict=True):
        if not points or share != points[-1][1]:
            points.append((state.progress, share))
    return tuple(points)


def share_at(line: Line, progress: float) -> float:
    """Share that is kept at a progress."""
    return [share for when, share in line if when <= progress][-1]


def reached(line: Line, removed: float) -> float | None:
    """First progress at which this fraction of what a run removes is gone; None if it keeps all.

    Parameters
    ----------
    line
        Kept share over progress.
    removed
        Fraction in (0, 1].
    """
    end = line[-1][1]
    if end >= 1.0:
        return None
    return next(when for when, share in line if 1.0 - share >= removed * (1.0 - end) - 1e-12)
