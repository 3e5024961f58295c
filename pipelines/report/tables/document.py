"""The board for programs: one JSON document with a published schema, and CSV."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from pipelines.common.files import atomic_file
from pipelines.records.record import Environment, RunRecord
from pipelines.report.analysis.critical import CriticalDifference
from pipelines.report.analysis.literature import LiteratureRow
from pipelines.report.analysis.rows import Row
from pipelines.report.analysis.standings import Analysis, Standing
from pipelines.report.tables.density_tables import status

#: Raised whenever a field goes or changes its meaning; new fields alone do not raise it.
#: 2: ranks, standings, critical differences, times to a target, literature.
SCHEMA_VERSION = 2


class Leaderboard(BaseModel):
    """Everything that a board shows. Accuracies are shares in [0, 1], keys of seeds are text.

    Parameters
    ----------
    board
        Its name.
    cells
        Number of runs.
    code_digests
        Method and digest of the code that ran it.
    environments
        Where the runs happened.
    run_ids
        The records that all this was made from.
    rows
        One per workload, track, granularity, method and target.
    standings
        What the rows of each table allow to say.
    critical_differences
        Average ranks by track and granularity.
    literature
        Published results beside the rows; in percent, as they are printed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int = SCHEMA_VERSION
    board: str
    cells: int
    code_digests: tuple[str, ...]
    environments: tuple[Environment, ...]
    run_ids: tuple[str, ...]
    rows: tuple[Row, ...]
    standings: tuple[Standing, ...]
    critical_differences: tuple[CriticalDifference, ...]
    literature: tuple[LiteratureRow, ...] = ()


def to_json(
    board: str,
    analysis: Analysis,
    records: Sequence[RunRecord],
    literature: Sequence[LiteratureRow] = (),
) -> str:
    """Everything that the board shows; `schema` describes it."""
    environments = {r.environment.model_dump_json(): r.environment for r in records}
    document = Leaderboard(
        board=board,
        cells=len(records),
        code_digests=tuple(sorted({f"{r.spec.method} {r.code_digest}" for r in records})),
        environments=tuple(environments[text] for text in sorted(environments)),
        run_ids=tuple(sorted(r.run_id for r in records)),
        rows=analysis.rows,
        standings=analysis.standings,
        critical_differences=analysis.critical_differences,
        literature=tuple(literature),
    )
    return _text(document.model_dump(mode="json"))


def schema() -> str:
    """JSON Schema of the document, as docs/leaderboard.schema.json has it."""
    return _text(Leaderboard.model_json_schema(mode="serialization"))


def _text(document: Any) -> str:
    return json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n"


def to_csv(rows: Sequence[Row]) -> str:
    """One line per row, plain numbers, shares in [0, 1]; an estimate takes two columns."""
    buffer = io.StringIO()
    flat = [_flat(row) for row in rows]
    writer = csv.DictWriter(buffer, fieldnames=list(flat[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return buffer.getvalue()


#: Fields of a row that are estimates.
_ESTIMATES = (
    "accuracy",
    "drop",
    "gain_over_random",
    "gain_over_magnitude",
    "gain_over_shuffled",
    "gain_over_reinit",
)


def _flat(row: Row) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    fields = asdict(row)
    time = fields.pop("time_to_target") or {}
    del fields["accuracies"]
    for unit in ("seconds", "samples"):
        fields[f"{unit}_to_target"] = time.get(unit)
    for key, value in fields.items():
        if key in _ESTIMATES:
            flat[key] = value["mean"] if value else None
            flat[f"{key}_half_width"] = value["half_width"] if value else None
        elif key.endswith("_to_target"):
            flat[key] = value["mean"] if value else None
        elif key == "statuses":
            flat[key] = status(row)
        else:
            flat[key] = value
    return flat


if __name__ == "__main__":
    with atomic_file(Path(sys.argv[1])) as schema_file:
        schema_file.write(schema().encode())
