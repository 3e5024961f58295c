"""Curves of accuracy over SynOps, and the methods at equal SynOps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log2

from pipelines.report.analysis.rows import MAGNITUDE, REFERENCE, Row
from pipelines.report.statistics.scores import Terms, estimate_of
from pipelines.report.statistics.stats import Estimate
from pipelines.settings.spec import RANDOM

#: SynOps at which methods are compared, as shares of the dense network's.
SHARES = (0.5, 0.25, 0.1, 0.05)


@dataclass(frozen=True)
class Curve:
    """A method over SynOps: share of the dense network's SynOps -> (density, accuracy).

    An accuracy is a weighted sum of rows, so that its interval follows from the runs of these rows.
    """

    points: dict[float, tuple[float, Terms]]

    @property
    def ends(self) -> tuple[float, float]:
        """Fewest and most SynOps."""
        return min(self.points), max(self.points)

    def at(self, share: float) -> tuple[float, Terms] | None:
        """Interpolate density and accuracies, linearly in log SynOps; None beyond the ends.

        The density is interpolated in its logarithm, too.
        """
        if share in self.points:
            return self.points[share]
        for low, high in pairwise(sorted(self.points)):
            if low < share < high:
                weight = log2(share / low) / log2(high / low)
                (below, ours), (above, theirs) = self.points[low], self.points[high]
                between = [
                    *((factor * (1 - weight), scores) for factor, scores in ours),
                    *((factor * weight, scores) for factor, scores in theirs),
                ]
                return float(below ** (1 - weight) * above**weight), between
        return None


@dataclass(frozen=True)
class SynopsRow:
    """A method at a share of the dense network's SynOps, interpolated between two densities.

    Parameters
    ----------
    share, synops
        SynOps as a share of the dense network's, and as a number.
    density
        Density at which the method has these SynOps, interpolated.
    accuracy, drop, gain_over_random, gain_over_magnitude
        As in a row; `random` and `magnitude` are taken at the same SynOps.
    """

    method: str
    share: float
    synops: float
    density: float
    accuracy: Estimate
    drop: Estimate | None
    gain_over_random: Estimate | None
    gain_over_magnitude: Estimate | None

    @property
    def is_reference(self) -> bool:
        """Whether this is the unpruned network."""
        return self.method == REFERENCE


def synops_curves(rows: Iterable[Row], dense: Row | None) -> dict[str, Curve]:
    """Curve of every spiking method, without emergent rows and rows without accuracy."""
    whole = _synops(dense)
    if not whole:
        return {}
    points: dict[str, dict[float, tuple[float, Terms]]] = defaultdict(dict)
    for row in rows:
        pruned = isinstance(row.target, float) and not row.is_reference
        synops, density = _synops(row), row.means["density"]
        if pruned and row.accuracies and synops and density:
            points[row.method][synops / whole] = density, [(1.0, row.scores)]
    return {method: Curve(found) for method, found in points.items()}


def _synops(row: Row | None) -> float | None:
    return None if row is None else row.means["synops"]


def _minus(terms: Terms) -> Terms:
    return [(-weight, scores) for weight, scores in terms]


def at_equal_synops(rows: Sequence[Row], dense: Row | None) -> list[SynopsRow]:
    """Every method at each of `SHARES` that its curve covers, most SynOps first, then the best."""
    curves = synops_curves(rows, dense)
    whole = _synops(dense)
    if dense is None or not whole:
        return []
    made = []
    for share in SHARES:
        found = {method: curve.at(share) for method, curve in curves.items()}
        there = {method: place for method, place in found.items() if place is not None}
        controls = {name: there[name][1] for name in (RANDOM, MAGNITUDE) if name in there}
        for method, (density, terms) in there.items():
            accuracy = estimate_of(terms)
            if accuracy is None:
                continue
            gains = {
                name: estimate_of([*terms, *_minus(controls[name])])
                for name in controls
                if name != method
            }
            made.append(
                SynopsRow(
                    method=method,
                    share=share,
                    synops=share * whole,
                    density=density,
                    accuracy=accuracy,
                    drop=estimate_of([(1.0, dense.scores), *_minus(terms)]),
                    gain_over_random=gains.get(RANDOM),
                    gain_over_magnitude=gains.get(MAGNITUDE),
                )
            )
    return sorted(made, key=lambda row: (-row.share, -row.accuracy.mean, row.method))
