"""Tables of costs in both conventions: a static first layer at each step or once, zeros or not."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.metrics.table import METRICS
from pipelines.report.analysis.rows import Row
from pipelines.report.analysis.standings import tables_of
from pipelines.report.formats.table import Column, Table
from pipelines.report.tables.columns import METHOD, TARGET, metric_column

COLUMNS: tuple[Column[Row], ...] = (
    METHOD,
    TARGET,
    *(
        metric_column(METRICS[name])
        for name in (
            "flops",
            "flops_static_once",
            "dense_macs",
            "effective_macs",
            "effective_macs_static_once",
            "synops",
            "synops_static_once",
            "energy_nanojoule",
            "energy_nanojoule_static_once",
            "energy_nanojoule_dense_macs",
            "storage_bytes_bitmap",
            "storage_bytes_csr",
        )
    ),
)


def cost_tables(rows: Sequence[Row]) -> list[Table]:
    """Make one table of costs for each table of rows by density.

    A column without values is left out, and so is one of a static input computed once if it is
    equal to the column before, as in an artificial network.
    """
    tables = []
    for dense, own in tables_of(rows):
        lines = (*([dense] if dense else []), *own)
        tables.append(
            Table(
                own[0].workload,
                own[0].track,
                f"{own[0].granularity}, costs",
                lines,
                _columns(lines),
                "Means over the runs that are ok, per sample. Unless a column says once, a static "
                "input is charged at each time step.",
            )
        )
    return tables


def _columns(rows: Sequence[Row]) -> tuple[Column[Row], ...]:
    shown: list[Column[Row]] = []
    before: list[float | None] = []
    for column in COLUMNS:
        values = [column.value(row) for row in rows]
        needed = any(values) and not (column.title.endswith("static once") and values == before)
        if needed or not column.optional:
            shown.append(column)
        before = values
    return tuple(shown)
