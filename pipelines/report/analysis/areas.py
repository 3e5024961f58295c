"""Areas under the curves of accuracy over density and over SynOps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import log2

from pipelines.report.analysis.rows import Row
from pipelines.report.analysis.synops_curves import Curve, synops_curves
from pipelines.report.statistics.scores import Terms, estimate_of
from pipelines.report.statistics.stats import Estimate


@dataclass(frozen=True)
class Area:
    """Mean accuracy of a method over a range of density or of SynOps; None if a run is missing."""

    method: str
    over_density: Estimate | None
    over_synops: Estimate | None

    @property
    def is_reference(self) -> bool:
        """Whether this is the unpruned network; it has no area."""
        return False


@dataclass(frozen=True)
class Areas:
    """Areas under the curves of a table's methods, over the range that all of them cover.

    Parameters
    ----------
    densities
        Densities at which every method has a run that is ok.
    synops
        Fewest and most SynOps that every method's curve covers, as shares of the dense network's;
        None if there is no such range.
    """

    densities: tuple[float, ...]
    synops: tuple[float, float] | None
    methods: tuple[Area, ...]


def areas(rows: Sequence[Row], dense: Row | None) -> Areas | None:
    """Areas under the curves of accuracy over density and over SynOps; None without curves.

    An area is computed by trapezoids over the logarithm to base 2 and divided by the width of the
    range. So it is a mean accuracy, and each halving of the density or SynOps has the same weight.
    Only seeds that have every point count.
    """
    by_method: dict[str, dict[float, Terms]] = defaultdict(dict)
    for row in rows:
        if isinstance(row.target, float) and not row.is_reference and row.accuracies:
            by_method[row.method][row.target] = [(1.0, row.scores)]
    if not by_method:
        return None
    densities = sorted(set.intersection(*(set(found) for found in by_method.values())))
    curves = synops_curves(rows, dense)
    common = _common_range(list(curves.values())) if curves.keys() == by_method.keys() else None
    made = [
        Area(
            method,
            area(densities, [found[density] for density in densities]),
            _synops_area(curves[method], common) if common else None,
        )
        for method, found in by_method.items()
    ]
    made.sort(key=lambda one: (-one.over_density.mean if one.over_density else 0.0, one.method))
    return Areas(tuple(reversed(densities)), common, tuple(made))


def _common_range(curves: Sequence[Curve]) -> tuple[float, float] | None:
    low = max(curve.ends[0] for curve in curves)
    high = min(curve.ends[1] for curve in curves)
    return (low, high) if low < high else None


def _synops_area(curve: Curve, common: tuple[float, float]) -> Estimate | None:
    low, high = common
    places = [low, *(x for x in sorted(curve.points) if low < x < high), high]
    found = [curve.at(place) for place in places]
    return area(places, [place[1] for place in found if place is not None])


def area(places: Sequence[float], accuracies: Sequence[Terms]) -> Estimate | None:
    """Mean height of a curve, by trapezoids over log2; None with one place or no common seed.

    Parameters
    ----------
    places
        Densities or SynOps, ascending.
    accuracies
        Accuracy at each place, as a weighted sum of rows.
    """
    if len(places) < 2:
        return None
    width = log2(places[-1] / places[0])
    weights = [0.0] * len(places)
    for i in range(len(places) - 1):
        half = log2(places[i + 1] / places[i]) / 2 / width
        weights[i] += half
        weights[i + 1] += half
    terms = zip(weights, accuracies, strict=True)
    return estimate_of([(w * factor, scores) for w, one in terms for factor, scores in one])
