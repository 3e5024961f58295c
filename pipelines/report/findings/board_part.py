"""The rows and the records of a board, or of a part of it, and what has no record yet."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from statistics import stdev

from pipelines.boards.coverage import runs_of
from pipelines.boards.params import Params
from pipelines.metrics.metric import Metric
from pipelines.records.record import RunRecord
from pipelines.records.store import Store
from pipelines.report.analysis.board_records import collect
from pipelines.report.analysis.rows import Row, RowKey, make_rows, of_one_machine, row_key
from pipelines.report.findings.effects import Effect
from pipelines.report.statistics.ratios import log_ratio
from pipelines.report.statistics.scores import difference
from pipelines.report.statistics.stats import estimate
from pipelines.settings.spec import RunSpec

#: Largest standard deviation of the logarithm of a time over seeds. The runs of a row do nearly the
#: same work, so a larger one is taken as a sign of other programs.
STEADY = 0.1


@dataclass(frozen=True)
class BoardPart:
    """What is known about some cells of a board.

    Parameters
    ----------
    board
        Name of the board.
    rows
        Its rows in their order, also those without any record.
    runs
        Row -> the records of its runs that are ok, without controls.
    shuffled
        Rows that the board asks for shuffled controls of.
    cells, missing
        Number of runs that the board asks for, controls included, and of those without a record.
    """

    board: str
    rows: dict[RowKey, Row]
    runs: dict[RowKey, list[RunRecord]]
    shuffled: frozenset[RowKey]
    cells: int
    missing: int

    def gain(self, one: RowKey, other: RowKey) -> Effect | None:
        """Difference of two rows in accuracy; None without common seeds."""
        found = difference(self.rows[one].scores, self.rows[other].scores)
        return None if found is None else Effect(found, "points")

    def ratio(self, one: RowKey, other: RowKey, metric: Metric) -> Effect | None:
        """Ratio of a cost of two rows; None without common seeds, or if it cannot be compared."""
        if not self.comparable(metric, one, other):
            return None
        found = log_ratio(self._values(one, metric), self._values(other, metric))
        return None if found is None else Effect(found, "ratio")

    def value(self, row: RowKey, metric: Metric) -> Effect | None:
        """Mean of a metric of a row; None without a run that has it."""
        if not self.comparable(metric, row):
            return None
        found = estimate([*self._values(row, metric).values()])
        return None if found is None else Effect(found, "value", metric)

    def comparable(self, metric: Metric, *rows: RowKey) -> bool:
        """Whether a metric of some rows may be compared: times need one machine."""
        found = [record for row in rows for record in self.runs.get(row, ())]
        return not metric.one_machine or of_one_machine(found)

    def steady(self, metric: Metric, *rows: RowKey) -> bool:
        """Whether a metric of some rows may be taken for their own: times must scatter little."""
        if not metric.one_machine:
            return True
        found = [[*self._values(row, metric).values()] for row in rows]
        scatter = [stdev(map(log, values)) for values in found if len(values) > 1]
        return max(scatter, default=0.0) <= STEADY

    def _values(self, row: RowKey, metric: Metric) -> dict[int, float]:
        read = {record.spec.seed: metric.read(record) for record in self.runs.get(row, ())}
        return {seed: value for seed, value in read.items() if value is not None}


def read_part(
    params: Params,
    board: str,
    store: Store,
    workloads: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    densities: Sequence[float | str] | None = None,
) -> BoardPart:
    """Read the records of a board, or of some of its workloads, methods and densities.

    Parameters
    ----------
    params, board
        The board is one of `params`.
    store
        Its records.
    workloads, methods, densities
        As for `Board.places`. Matched runs are read for the whole board only.

    Raises
    ------
    InputError
        If the board has no such workload, method or density.
    BenchError
        If records must not be compared, see `collect`.
    """
    part = (workloads, methods, densities)
    if part == (None, None, None):
        specs = params.everything(board, store)
    else:
        cells = params.cells(board, *part, admit=False)
        specs = [*cells, *params.controls(board, store, *part, admit=False)]
    records = collect(specs, store, partial=True)
    known = {record.run_id: record for record in records}
    runs = list(runs_of(params, board, lambda spec: known.get(spec.run_id), *part))
    asked = [run for run in runs if part == (None, None, None) or not run.spec.matched_to]
    absent = [run.spec for run in asked if not run.found]
    return make_part(board, records, absent, len(asked))


def make_part(
    board: str, records: Sequence[RunRecord], absent: Sequence[RunSpec], cells: int
) -> BoardPart:
    """Group records into rows.

    Parameters
    ----------
    board
        Name of the board.
    records
        Its records, with controls.
    absent
        The runs without a record.
    cells
        Number of runs that the board asks for.
    """
    good: dict[RowKey, list[RunRecord]] = defaultdict(list)
    for record in records:
        if not record.spec.control and record.status == "ok":
            good[row_key(record.spec)].append(record)
    rows = {row.key: row for row in make_rows(records, absent)}
    specs = [*(record.spec for record in records), *absent]
    shuffled = frozenset(row_key(spec) for spec in specs if spec.control == "shuffled")
    return BoardPart(board, rows, dict(good), shuffled, cells, len(absent))
