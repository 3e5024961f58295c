"""Changes between two times of a board: rows that came, went and moved."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.audit.comparison import timeless
from pipelines.records.record import RunRecord
from pipelines.report.analysis.rows import Row, make_rows, row_key
from pipelines.report.analysis.standings import analyse
from pipelines.report.statistics.scores import difference as paired_difference
from pipelines.report.statistics.stats import Estimate

#: Fields of a record that say where it comes from. They are compared apart from its results.
_ORIGIN = frozenset(
    {
        "schema_version",
        "rules_version",
        "run_id",
        "spec",
        "checkpoint",
        "parent",
        "environment",
        "code_digest",
        "code_digest_end",
    }
)
#: Control and seed: a run within its row.
_Runs = dict[tuple[str, int], RunRecord]


@dataclass(frozen=True)
class Shared:
    """The cells that a row has at both times, its controls included.

    Parameters
    ----------
    cells
        Their number.
    results, settings, code, environment
        How many of them differ in their results (times do not count), their settings, the digest of
        their code, and their environment.
    """

    cells: int = 0
    results: int = 0
    settings: int = 0
    code: int = 0
    environment: int = 0

    def __add__(self, other: Shared) -> Shared:
        return Shared(
            self.cells + other.cells,
            self.results + other.results,
            self.settings + other.settings,
            self.code + other.code,
            self.environment + other.environment,
        )


@dataclass(frozen=True)
class Move:
    """A row whose records or rank differ.

    Parameters
    ----------
    old, new
        The row at both times.
    difference
        New minus old accuracy over the seeds that both have; None without any.
    shared
        How many of its runs differ.
    """

    old: Row
    new: Row
    difference: Estimate | None
    shared: Shared

    @property
    def method(self) -> str:
        """Name of the method."""
        return self.new.method

    @property
    def is_reference(self) -> bool:
        """Whether this is the unpruned network."""
        return self.new.is_reference


@dataclass(frozen=True)
class Changes:
    """All changes between two times of a board.

    Parameters
    ----------
    came, went
        Rows that only the newer and only the older board has.
    moved
        Rows of both whose records or rank differ.
    unchanged
        Number of rows of both with equal results and ranks.
    shared
        How many runs of all rows of both differ.
    """

    came: tuple[Row, ...]
    went: tuple[Row, ...]
    moved: tuple[Move, ...]
    unchanged: int
    shared: Shared


def changes(old: Sequence[RunRecord], new: Sequence[RunRecord]) -> Changes:
    """Compare the records of a board at two times, row by row.

    Parameters
    ----------
    old, new
        Records of the board, controls included.
    """
    before = {row.key: row for row in analyse(make_rows(old)).rows}
    after = {row.key: row for row in analyse(make_rows(new)).rows}
    old_runs, new_runs = _by_row(old), _by_row(new)
    moved, total = [], Shared()
    for key, row in after.items():
        if key not in before:
            continue
        shared = _shared(old_runs[key], new_runs[key])
        total += shared
        same_runs = old_runs[key].keys() == new_runs[key].keys()
        if shared.results or not same_runs or before[key].rank != row.rank:
            difference = paired_difference(row.scores, before[key].scores)
            moved.append(Move(before[key], row, difference, shared))
    common = sum(key in before for key in after)
    return Changes(
        came=tuple(row for key, row in after.items() if key not in before),
        went=tuple(row for key, row in before.items() if key not in after),
        moved=tuple(moved),
        unchanged=common - len(moved),
        shared=total,
    )


def _by_row(records: Sequence[RunRecord]) -> dict[tuple[object, ...], _Runs]:
    """Group records by the keys of their rows."""
    found: dict[tuple[object, ...], _Runs] = defaultdict(dict)
    for record in records:
        found[row_key(record.spec)][record.spec.control, record.spec.seed] = record
    return found


def _shared(old: _Runs, new: _Runs) -> Shared:
    pairs = [(old[run], new[run]) for run in new if run in old]

    def differing(read: Callable[[RunRecord], object]) -> int:
        return sum(read(one) != read(two) for one, two in pairs)

    return Shared(
        cells=len(pairs),
        results=sum(not _agree(_results(one), _results(two)) for one, two in pairs),
        settings=differing(lambda record: record.run_id),
        code=differing(lambda record: record.code_digest),
        environment=differing(lambda record: record.environment),
    )


def _results(record: RunRecord) -> dict[str, Any]:
    fields = timeless(record)
    return {name: value for name, value in fields.items() if name not in _ORIGIN}


def _agree(one: Any, two: Any) -> bool:
    """Whether two results agree in all that both have; an older record has fewer figures."""
    if one is None or two is None:
        return True
    if isinstance(one, dict) and isinstance(two, dict):
        return all(_agree(one[name], two[name]) for name in one.keys() & two.keys())
    if isinstance(one, float) and isinstance(two, float):
        return math.isclose(one, two, rel_tol=1e-6)  # older curves have more digits
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(map(_agree, one, two))
    return bool(one == two)
