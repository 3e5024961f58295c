"""Cards of the methods: summary, paper, options, and the layers that remain after pruning."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from baselines.shared.info import PrunerInfo
from pipelines.methods.catalogue import infos, source
from pipelines.metrics.numbers import target
from pipelines.records.record import RunRecord
from pipelines.report.analysis.rows import GRANULARITIES, REFERENCE
from pipelines.report.page.curves import SERIES_COLOURS
from pipelines.report.page.histories import Drawing, drawings
from pipelines.settings.network import READOUT
from pipelines.settings.spec import EMERGENT

_PAPER = re.compile(r"arXiv (?P<arxiv>\d{4}\.\d{4,5})|doi:?\s*(?P<doi>10\.\d+/[^\s,;]+)", re.I)


@dataclass(frozen=True)
class Remains:
    """The layers that remain after pruning: means over the runs that are ok, None if unknown.

    Parameters
    ----------
    target
        Requested density, or ``dense`` for the unpruned network.
    layers
        Density and firing rate (share of outputs that are not zero) of each layer.
    """

    granularity: str
    target: str
    layers: tuple[tuple[float | None, float | None], ...]


@dataclass(frozen=True)
class Profile:
    """The layers of one workload and track.

    Parameters
    ----------
    layers
        Their names.
    lines
        What remains of them, the unpruned network first.
    drawings
        What one run of each granularity kept over its training, at the smallest density.
    """

    workload: str
    track: str
    layers: tuple[str, ...]
    lines: tuple[Remains, ...]
    drawings: tuple[Drawing, ...]


@dataclass(frozen=True)
class Card:
    """One method, or a variant of it.

    Parameters
    ----------
    info
        The declaration of the method; None if it is not installed here.
    file
        Its source file in the project, or its module in another package.
    paper
        Pieces of the citation, each with an address or an empty text.
    options
        Hyper-parameters of its runs; several sets if the runs differ.
    """

    name: str
    info: PrunerInfo | None
    file: str
    paper: tuple[tuple[str, str], ...]
    options: tuple[dict[str, Any], ...]
    profiles: tuple[Profile, ...]


def make_cards(records: Sequence[RunRecord]) -> list[Card]:
    """Make one card per method and variant, sorted by name."""
    cells = [record for record in records if not record.spec.control]
    groups: dict[str, list[RunRecord]] = defaultdict(list)
    dense: dict[tuple[str, str], list[RunRecord]] = defaultdict(list)
    for record in cells:
        groups[record.spec.name].append(record)
        if record.spec.method == REFERENCE:
            dense[record.spec.workload, record.spec.track].append(record)
    return [_card(name, own, dense) for name, own in sorted(groups.items())]


def _card(
    name: str,
    records: Sequence[RunRecord],
    dense: dict[tuple[str, str], list[RunRecord]],
) -> Card:
    method = records[0].spec.method
    info = infos().get(method)
    options: list[dict[str, Any]] = []
    for record in records:
        if record.spec.options not in options:
            options.append(record.spec.options)
    return Card(
        name=name,
        info=info,
        file=source(method),
        paper=tuple(linked(info.paper)) if info else (),
        options=tuple(options),
        profiles=tuple(_profiles(records, dense)),
    )


def linked(paper: str) -> Iterator[tuple[str, str]]:
    """Split a citation into pieces; arXiv ids and DOIs get an address."""
    end = 0
    for match in _PAPER.finditer(paper):
        if paper[end : match.start()]:
            yield paper[end : match.start()], ""
        arxiv, doi = match["arxiv"], match["doi"]
        yield match[0], f"https://arxiv.org/abs/{arxiv}" if arxiv else f"https://doi.org/{doi}"
        end = match.end()
    if paper[end:]:
        yield paper[end:], ""


def _profiles(
    records: Sequence[RunRecord], dense: dict[tuple[str, str], list[RunRecord]]
) -> Iterator[Profile]:
    """Profiles of all runs at a density of their own: no matched runs, no runs at target SynOps."""
    places: dict[tuple[str, str], dict[tuple[str, str], list[RunRecord]]] = defaultdict(dict)
    for record in records:
        spec = record.spec
        if spec.method != REFERENCE and not spec.matched_to and spec.synops is None:
            lines = places[spec.workload, spec.track]
            lines.setdefault((spec.granularity, target(spec.density)), []).append(record)
    for place, lines in places.items():
        layers = _layers([*dense.get(place, ()), *(r for own in lines.values() for r in own)])
        if not layers:
            continue
        before = [_remains("none", REFERENCE, dense[place], layers)] if place in dense else []
        after = [_remains(*key, lines[key], layers) for key in sorted(lines, key=_order)]
        own = [record for key in sorted(lines, key=_order) for record in lines[key]]
        drawn = tuple(drawings(own, SERIES_COLOURS))
        yield Profile(*place, layers, tuple(before + after), drawn)


def _order(key: tuple[str, str]) -> tuple[int, float]:
    """Sort by granularity, then the densest first; emergent last."""
    granularity, density = key
    return GRANULARITIES.index(granularity), 0.0 if density == EMERGENT else -float(density)


def _layers(records: Iterable[RunRecord]) -> tuple[str, ...]:
    """Names of the layers in order, without the readout, which is never pruned."""
    for record in records:
        if record.outcome and record.outcome.cost.layers:
            return tuple(name for name in record.outcome.cost.layers if name != READOUT)
    return ()


def _remains(
    granularity: str, density: str, records: Sequence[RunRecord], layers: tuple[str, ...]
) -> Remains:
    costs = [r.outcome.cost.layers for r in records if r.status == "ok" and r.outcome]

    def mean(layer: str, field: str) -> float | None:
        found = [getattr(cost[layer], field) for cost in costs if layer in cost]
        values = [value for value in found if value is not None]
        return fmean(values) if values else None

    pairs = tuple((mean(layer, "density"), mean(layer, "firing_rate")) for layer in layers)
    return Remains(granularity, density, pairs)
