"""The board for programs: one JSON document with a published schema, and CSV."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, create_model

from pipelines.boards.coverage import Coverage, TableCoverage
from pipelines.common.files import atomic_file
from pipelines.metrics.table import ACCURACY, METRICS
from pipelines.records.record import Environment, RunRecord, environments_of
from pipelines.report.analysis.critical_difference import CriticalDifference
from pipelines.report.analysis.literature import LiteratureRow
from pipelines.report.analysis.rows import Row
from pipelines.report.analysis.standings import Analysis, Standing
from pipelines.report.statistics.stats import Estimate
from pipelines.report.tables.density import status

#: Raised when a field is removed or changes its meaning; new fields alone do not raise it.
#: 2: ranks, standings, critical differences, times to a target, literature.
#: 3: smallest detectable differences by the errors of seeds and test samples.
#: 4: smallest detectable differences by number of seeds.
SCHEMA_VERSION = 4

#: Fields of a row that are published.
_FIELDS = tuple(field for field in dataclasses.fields(Row) if field.name != "correct")


def _fields(row: Row) -> dict[str, Any]:
    """Fields of a row by name, with one for each metric in place of `means`."""
    flat: dict[str, Any] = {}
    for field in _FIELDS:
        value = getattr(row, field.name)
        flat |= value if field.name == "means" else {field.name: value}
    return flat


def _field_types() -> Iterator[tuple[str, Any]]:
    """Name, and type and default, of each field that `_fields` gives."""
    types = get_type_hints(Row)
    for field in _FIELDS:
        if field.name == "means":
            for metric in METRICS.values():
                if metric is not ACCURACY:
                    yield metric.name, (float | None, Field(description=metric.help))
        else:
            default = ... if field.default is dataclasses.MISSING else field.default
            yield field.name, (types[field.name], default)


_ROW = """One row: means over the seeds whose status is ok, null where no run has the figure.

`accuracies` has the test accuracy by seed, `accuracy` its mean and interval. `drop` and
`gain_over_...` are differences of accuracy, paired by seed. `rank` is 1 + the number of better rows
at the same density that are separated from this row, null with too few seeds. `missing` and
`missing_controls` count the runs and controls without a record.
"""

#: A row as JSON has it.
_PublishedRow = create_model(
    "Row",
    __config__=ConfigDict(extra="forbid", frozen=True),
    __doc__=_ROW,
    **dict(_field_types()),
)


class Leaderboard(BaseModel):
    """Everything that a board shows. Accuracies are shares in [0, 1], keys of seeds are text.

    Parameters
    ----------
    board
        Its name.
    rules_version
        Version of the rules of the comparison (RULES.md).
    partial
        Whether cells are missing. A partial board must not be published.
    cells
        Number of runs that have a record.
    missing
        Number of runs that the board asks for and that have no record; rows have their own.
    coverage
        Runs that the board asks for, and those without a record, by table.
    code_digests
        Method and digest of the code that ran it.
    environments
        Where the runs happened.
    run_ids
        Ids of the records that the board was made from.
    rows
        One per workload, track, granularity, method and target.
    standings
        Comparisons of the rows of each table.
    critical_differences
        Average ranks by track and granularity.
    literature
        Published results beside the rows; in percent, as they are printed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int = SCHEMA_VERSION
    board: str
    rules_version: int
    partial: bool = False
    cells: int
    missing: int = 0
    coverage: tuple[TableCoverage, ...] = ()
    code_digests: tuple[str, ...]
    environments: tuple[Environment, ...]
    run_ids: tuple[str, ...]
    rows: tuple[_PublishedRow, ...]
    standings: tuple[Standing, ...]
    critical_differences: tuple[CriticalDifference, ...]
    literature: tuple[LiteratureRow, ...] = ()


def to_json(
    board: str,
    analysis: Analysis,
    records: Sequence[RunRecord],
    literature: Sequence[LiteratureRow] = (),
    covered: Coverage | None = None,
) -> str:
    """Write everything that the board shows as JSON; `schema` describes it."""
    document = Leaderboard(
        board=board,
        rules_version=records[0].rules_version,
        partial=bool(covered and covered.missing),
        cells=len(records),
        missing=covered.missing if covered else 0,
        coverage=covered.tables if covered else (),
        code_digests=tuple(sorted({f"{r.spec.method} {r.code_digest}" for r in records})),
        environments=environments_of(records),
        run_ids=tuple(sorted(r.run_id for r in records)),
        rows=tuple(_PublishedRow(**_fields(row)) for row in analysis.rows),
        standings=analysis.standings,
        critical_differences=analysis.critical_differences,
        literature=tuple(literature),
    )
    return _text(document.model_dump(mode="json"))


def schema() -> str:
    """JSON Schema of the document, the content of docs/leaderboard.schema.json."""
    return _text(Leaderboard.model_json_schema(mode="serialization"))


def _text(document: Any) -> str:
    return json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n"


def to_csv(rows: Sequence[Row]) -> str:
    """Write one line per row, in plain numbers and shares in [0, 1].

    An estimate takes two columns. The accuracies of single seeds are left out.
    """
    buffer = io.StringIO()
    flat = [_line(row) for row in rows]
    writer = csv.DictWriter(buffer, fieldnames=list(flat[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in line.items()} for line in flat)
    return buffer.getvalue()


def _cell(value: Any) -> Any:
    """Return a cell that no spreadsheet takes for a formula."""
    text = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{value}" if text else value


#: Fields of a row that are estimates.
_ESTIMATES = tuple(name for name, kind in get_type_hints(Row).items() if kind == Estimate | None)


def _line(row: Row) -> dict[str, Any]:
    line: dict[str, Any] = {}
    for name, value in _fields(row).items():
        if name in _ESTIMATES:
            line[name] = value.mean if value else None
            line[f"{name}_half_width"] = value.half_width if value else None
        elif name == "statuses":
            line[name] = status(row)
        elif name not in ("accuracies", "time_to_target"):
            line[name] = value
    for unit in ("seconds", "samples"):
        found = getattr(row.time_to_target, unit, None)
        line[f"{unit}_to_target"] = found.mean if found else None
    return line


if __name__ == "__main__":
    with atomic_file(Path(sys.argv[1])) as schema_file:
        schema_file.write(schema().encode())
