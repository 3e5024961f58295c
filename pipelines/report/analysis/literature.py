"""Published results beside the rows of a board, or the reason why there is no such row."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipelines.boards.params import Params
from pipelines.data.catalogue import SOURCES
from pipelines.methods.catalogue import infos
from pipelines.report.analysis.published_results import Published, PublishedResult
from pipelines.report.analysis.rows import Row
from pipelines.report.statistics.stats import Estimate
from pipelines.settings.workload import Workload


@dataclass(frozen=True)
class Reproduced:
    """Our row of the same data set, network, method and granularity, at the nearest density."""

    workload: str
    track: str
    method: str
    target: float | str
    density: float
    accuracy: Estimate
    drop: Estimate | None


@dataclass(frozen=True)
class LiteratureRow:
    """A published result and the row of this board that reproduces it.

    Parameters
    ----------
    result
        As its source prints it.
    density
        1 - what the source calls sparsity.
    counting
        What that density counts; empty if unknown.
    reproduced
        Our row; None where there is none.
    reason
        Why there is no row; empty if there is one.
    """

    result: PublishedResult
    density: float | None
    counting: str
    reproduced: Reproduced | None
    reason: str

    @property
    def method(self) -> str:
        """Name of the method as printed."""
        return self.result.method

    @property
    def is_reference(self) -> bool:
        """Whether this is our unpruned network, which no published result is."""
        return False


def literature(
    published: Published, params: Params, board: str, rows: Sequence[Row]
) -> list[LiteratureRow]:
    """Find the row of a board for every published result.

    The reason why a row is missing is derived from the methods, data sets, workloads and boards
    that exist, so it is always up to date.
    """
    found = []
    for result in published.results:
        known = published.methods.get(result.method)
        names = known.here if known else ()
        reproduced, reason = _beside(result, names, params, board, rows)
        counting = known.counting if known else ""
        found.append(LiteratureRow(result, result.density, counting, reproduced, reason))
    return found


def _beside(
    result: PublishedResult, names: Sequence[str], params: Params, board: str, rows: Sequence[Row]
) -> tuple[Reproduced | None, str]:
    """Our row and no reason, or no row and the first reason."""
    methods = [name for name in names if _removes(name, result)]
    workloads = [name for name, one in params.workloads.items() if _same_task(one, result)]
    reason = next(_reasons(result, names, methods, workloads, params), "")
    if reason:
        return None, reason
    own = [
        row
        for row in rows
        if row.method in methods
        and row.workload in workloads
        and row.accuracy is not None
        and result.granularity in (None, row.granularity)
    ]
    if own:
        return _nearest(own, result.density), ""
    here = params.board(board)
    if set(methods) & set(here.methods) and set(workloads) & set(here.workloads):
        return None, "no run of it is ok on this board"
    others = [
        name
        for name, one in params.boards.items()
        if set(methods) & set(one.methods) and set(workloads) & set(one.workloads)
    ]
    where = f"boards that have it: {', '.join(others)}" if others else "no board has it yet"
    return None, f"not on this board; {where}"


def _removes(name: str, result: PublishedResult) -> bool:
    return result.granularity is None or result.granularity in infos()[name].granularities


def _same_data(workload: Workload, result: PublishedResult) -> bool:
    """Whether it is the same data set; ``dvs-gesture-280`` is a variant of DVS-Gesture."""
    return re.fullmatch(rf"{re.escape(result.dataset.lower())}(-\d+)?", workload.data) is not None


def _same_task(workload: Workload, result: PublishedResult) -> bool:
    network = workload.network
    return _same_data(workload, result) and (network.kind, network.layout) == (
        result.kind,
        result.layout,
    )


def _reasons(
    result: PublishedResult,
    names: Sequence[str],
    methods: Sequence[str],
    workloads: Sequence[str],
    params: Params,
) -> Iterator[str]:
    """Reasons why a result cannot have a row, whatever was run."""
    data = result.dataset.lower()
    if not names:
        yield "method not in this suite"
    if not methods:
        yield f"{', '.join(names)}: not {result.granularity} here"
    if data not in SOURCES:
        yield f"data set not in this suite: {result.dataset}"
    if result.network is None:
        yield "network not stated"
    if result.layout is None:
        yield f"network not in this suite: {result.network}"
    if not any(_same_data(one, result) for one in params.workloads.values()):
        yield f"no workload on {data}; dpap-bench fetch {data} gets it"
    if not workloads:
        yield f"no workload with this network on {data}"


def _nearest(rows: Sequence[Row], density: float | None) -> Reproduced:
    """The row nearest to a published density, or the densest row if no density was published."""
    goal = 1.0 if density is None else density
    row = min(rows, key=lambda row: abs(_density(row) - goal))
    assert row.accuracy is not None
    return Reproduced(
        row.workload,
        row.track,
        row.method,
        row.target,
        _density(row),
        row.accuracy,
        row.drop,
    )


def _density(row: Row) -> float:
    return row.means["density"] or 0.0
