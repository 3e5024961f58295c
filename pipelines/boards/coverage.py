"""Coverage: which runs a board asks for, and which of them have no record yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from msgspec.structs import replace

from pipelines.boards.params import Params, reached
from pipelines.methods.admission import refusal
from pipelines.records.record import RunRecord
from pipelines.settings.spec import EMERGENT, RunSpec


class Run(NamedTuple):
    """One run that a board asks for: a cell, a matched run or a control.

    Parameters
    ----------
    spec
        The run. The density of a matched run is known only once its emergent cell has a record;
        until then it is 1 here.
    found
        Whether it has a record.
    """

    spec: RunSpec
    found: bool


@dataclass(frozen=True)
class TableCoverage:
    """Coverage of one table; the granularity of the unpruned network is ``none``.

    Parameters
    ----------
    cells, missing
        Number of runs that the board asks for, with matched runs and controls, and how many of
        them have no record.
    """

    workload: str
    track: str
    granularity: str
    cells: int
    missing: int

    @property
    def sentence(self) -> str:
        """How many cells are missing; empty if none is."""
        return _sentence(self.missing, self.cells)


@dataclass(frozen=True)
class Coverage:
    """Coverage of a board.

    Parameters
    ----------
    tables
        One per workload, track and granularity, in the order of the board.
    absent
        The runs without a record, as in `Run`.
    """

    tables: tuple[TableCoverage, ...] = ()
    absent: tuple[RunSpec, ...] = ()

    @property
    def cells(self) -> int:
        """Number of runs that the board asks for."""
        return sum(table.cells for table in self.tables)

    @property
    def missing(self) -> int:
        """Number of runs without a record."""
        return len(self.absent)

    @property
    def sentence(self) -> str:
        """How many cells of the board are missing; empty if none is."""
        return _sentence(self.missing, self.cells)

    def of_table(self, workload: str, track: str, granularity: str) -> str:
        """How many cells of a table are missing, as a sentence; empty if none is."""
        return _sentence(*self._numbers(workload, track, granularity))

    def counts(self, workload: str, track: str, granularity: str) -> str:
        """How many cells of a table are missing, as two numbers."""
        missing, cells = self._numbers(workload, track, granularity)
        return f"{missing:,} of {cells:,}"

    def _numbers(self, *table: str) -> tuple[int, int]:
        own = (one for one in self.tables if _key(one) == table)
        return next(((one.missing, one.cells) for one in own), (0, 0))

    def of_workload(self, workload: str, track: str) -> str:
        """How many cells of the tables of a workload and track are missing; empty if none is."""
        own = [table for table in self.tables if (table.workload, table.track) == (workload, track)]
        return _sentence(sum(t.missing for t in own), sum(t.cells for t in own))


def _sentence(missing: int, cells: int) -> str:
    if not missing:
        return ""
    return f"{missing:,} of {cells:,} {'run' if cells == 1 else 'runs'} {_be(missing)} missing"


def _be(number: int) -> str:
    return "is" if number == 1 else "are"


def _key(one: RunSpec | TableCoverage) -> tuple[str, str, str]:
    return one.workload, one.track, one.granularity


def runs_of(
    params: Params,
    board: str,
    find: Callable[[RunSpec], RunRecord | None],
    workloads: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    densities: Sequence[float | str] | None = None,
    *,
    admit: bool = False,
) -> Iterator[Run]:
    """Yield all runs that a board asks for.

    A cell without a record is taken to end with the status ``ok``, so its matched runs and its
    controls are asked for, too.

    Parameters
    ----------
    params, board
        The board is one of `params`.
    find
        Returns the record of a run, or None if it has none.
    workloads, methods, densities
        As for `Board.places`; None: all of the board. The matched runs of a method belong to it.
    admit
        As for `Params.spec`.

    Yields
    ------
    Run
        A cell, then its matched runs, then its controls.

    Raises
    ------
    InputError
        If the board has no such workload, method or density.
    """
    grid = params.board(board)
    for place in grid.places(params.workloads, workloads, methods, densities):
        cell = params.spec(*place, admit=admit)
        record = find(cell)
        yield Run(cell, record is not None)
        densities = [1.0] if record is None else reached(record)
        if not densities:
            continue  # a run that is not ok has neither matched runs nor controls
        asked = []
        if place.density == EMERGENT:
            asked += [
                replace(
                    params.spec(*place._replace(name=name, density=densities[0]), admit=admit),
                    matched_to=place.name,
                )
                for name in params.matched_names(board, place)
            ]
        controls = (replace(cell, control=kind) for kind in grid.controls)
        asked += [control for control in controls if refusal(control) is None]
        for spec in asked:
            yield Run(spec, record is not None and find(spec) is not None)


def coverage(params: Params, board: str, records: Mapping[str, RunRecord]) -> Coverage:
    """Count the runs of a board that have a record, and those that have none, by table.

    Parameters
    ----------
    params, board
        The board is one of `params`.
    records
        The records of the board, by run_id.
    """
    runs = list(runs_of(params, board, lambda spec: records.get(spec.run_id)))
    absent = tuple(run.spec for run in runs if not run.found)
    cells, missing = Counter(_key(run.spec) for run in runs), Counter(map(_key, absent))
    tables = tuple(TableCoverage(*key, number, missing[key]) for key, number in cells.items())
    return Coverage(tables, absent)
