"""Small drawings of what a run kept over its training, for the cards of the methods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pipelines.metrics.numbers import target
from pipelines.records.record import RunRecord
from pipelines.report.analysis.history import Line, history

#: Size of a drawing in pixels, axes left out.
WIDTH, HEIGHT = 240, 96


@dataclass(frozen=True)
class Curve:
    """The line of one layer.

    Parameters
    ----------
    layer, colour
        Name of the layer, and number of its colour.
    path
        Steps from progress 0 to 1, as the path of an SVG.
    share
        Share that is kept in the end.
    """

    layer: str
    colour: int
    path: str
    share: float


@dataclass(frozen=True)
class Drawing:
    """Kept units or weights of one run by layer.

    Parameters
    ----------
    what
        ``units`` or ``weights``.
    granularity, target, seed
        Which run it is.
    """

    what: str
    granularity: str
    target: str
    seed: int
    curves: tuple[Curve, ...]

    @property
    def alternative(self) -> str:
        """Text alternative."""
        ends = ", ".join(f"{curve.layer} {curve.share:.3f}" for curve in self.curves)
        return f"Share of {self.what} kept in the end: {ends}."


def drawings(records: Sequence[RunRecord], colours: int) -> Iterator[Drawing]:
    """Draw each record that has its trajectory; layers that are drawn alike share nothing else.

    Parameters
    ----------
    records
        Of one method, workload and track.
    colours
        Number of colours; more layers repeat them.
    """
    for record in records:
        found = history(record)
        if found is None:
            continue
        spec = record.spec
        places = {name: i % colours for i, name in enumerate(found.size)}
        parts: dict[str, Mapping[str, Line]] = {"units": found.units, "weights": found.weights}
        for what, lines in parts.items():
            if lines:
                curves = tuple(
                    Curve(name, places[name], _path(line), line[-1][1])
                    for name, line in lines.items()
                )
                yield Drawing(what, spec.granularity, target(spec.density), spec.seed, curves)


def _path(line: Line) -> str:
    """Steps, rounded to pixels; steps within one pixel are one."""
    x = y = 0
    path = "M0 0"
    for when, share in line:
        across, down = round(WIDTH * when), round(HEIGHT * (1 - share))
        if down == y:
            continue
        path += (f"H{across}" if across != x else "") + f"V{down}"
        x, y = across, down
    return f"{path}H{WIDTH}"
