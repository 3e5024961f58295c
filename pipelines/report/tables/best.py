"""The highest mean of each table, for the terminal and for ``dvc metrics show``."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from pipelines.boards.coverage import Coverage
from pipelines.common.alignment import align
from pipelines.methods.catalogue import in_headlines
from pipelines.metrics.numbers import MISSING, percent, target
from pipelines.report.analysis.rows import RANKED, Row
from pipelines.report.analysis.standings import Standing

_Table = tuple[str, str, str]


def best_rows(rows: Sequence[Row]) -> dict[_Table, dict[float, Row]]:
    """Return the row of the highest mean accuracy at each target density, the densest first.

    Parameters
    ----------
    rows
        Of a board. Left out are the unpruned network, rows without a target density, and methods
        that were written after an abstract only.

    Returns
    -------
    dict
        (workload, track, granularity) -> density -> row.
    """
    found: dict[_Table, dict[float, Row]] = defaultdict(dict)
    for row in rows:
        if row.is_reference or isinstance(row.target, str) or row.accuracy is None:
            continue
        if not in_headlines(row.method):
            continue
        table = found[row.workload, row.track, row.granularity]
        best = table.get(row.target)
        if best is None or best.accuracy is None or row.accuracy.mean > best.accuracy.mean:
            table[row.target] = row
    return {key: dict(sorted(table.items(), reverse=True)) for key, table in found.items()}


def _alike(rows: Sequence[Row], best: Row) -> int:
    """Number of other rows that share the first rank at the density of a row."""
    return sum(
        row.rank == best.rank == 1
        and row is not best
        and (row.key[:3], row.target) == (best.key[:3], best.target)
        for row in rows
    )


def best_text(
    rows: Sequence[Row], standings: Sequence[Standing] = (), covered: Coverage | None = None
) -> str:
    """Return one aligned line for each table: the method of the highest mean at each density.

    Accuracies are test accuracies in percent, mean over seeds and half-width of the 95 % interval.
    Behind it, the number of other methods that share its rank; then the smallest detectable
    differences of the table. Where cells are missing, they are counted in total and in a column of
    their own.

    Parameters
    ----------
    rows, standings
        Of a board.
    covered
        Which cells of the board have a record; None: all.
    """
    found = best_rows(rows)
    partial = covered if covered and covered.missing else None
    for one in partial.tables if partial else ():
        if one.granularity != "none":  # a table may have no row yet
            found.setdefault((one.workload, one.track, one.granularity), {})
    densities = sorted({density for table in found.values() for density in table}, reverse=True)
    smallest = _smallest(standings)
    head = ["workload", "granularity", *(f"density {target(d)}" for d in densities)]
    head += ["smallest difference"] if smallest else []
    head += ["missing"] if partial else []
    lines = [
        [
            _name(workload, track),
            granularity,
            *(_cell(table.get(density), rows) for density in densities),
            *([_range(smallest.get((workload, track, granularity), {}))] if smallest else []),
            *([partial.counts(workload, track, granularity)] if partial else []),
        ]
        for (workload, track, granularity), table in found.items()
    ]
    dense = [
        f"{_name(row.workload, row.track)} {_accuracy(row)}"
        for row in rows
        if row.is_reference and row.accuracy is not None
    ]
    heading = "Highest mean test accuracy of each table, in % ± half-width of the 95 % interval."
    if any(row.rank for row in rows):
        heading += "\n(+2): two other methods share its rank."
    if smallest:
        heading += (
            "\nSmallest difference: by how many points two rows must differ to be separated"
            f"\n({RANKED} seeds are needed)."
        )
    unpruned = f"Unpruned: {'; '.join(dense)}." if dense else ""
    if partial:
        heading = f"Partial board: {partial.sentence}.\n\n{heading}"
        unpruned = "\n".join([unpruned, *_dense_missing(partial)]).strip()
    table = "\n".join("  ".join(line).rstrip() for line in align([head, *lines]))
    return f"{heading}\n\n{table}\n\n{unpruned}\n"


def _dense_missing(covered: Coverage) -> Iterator[str]:
    """Say how many runs of the unpruned networks are missing."""
    for one in covered.tables:
        if one.granularity == "none" and one.missing:
            yield f"Unpruned, {_name(one.workload, one.track)}: {one.sentence}."


def _smallest(standings: Sequence[Standing]) -> dict[_Table, dict[float | str, float]]:
    """Smallest detectable difference by table and density."""
    return {
        (one.workload, one.track, one.granularity): {
            density: found.corrected for found in one.detectable for density in found.densities
        }
        for one in standings
        if one.detectable
    }


def _range(smallest: dict[float | str, float]) -> str:
    """Print the smallest and the largest of a table, or one number if they are printed alike."""
    ends = [percent(end(smallest.values()), 1) for end in (min, max)] if smallest else [MISSING]
    return " to ".join(dict.fromkeys(ends))


def best_json(
    rows: Sequence[Row], standings: Sequence[Standing] = (), covered: Coverage | None = None
) -> str:
    """Return the same as a JSON document, for ``dvc metrics show`` and ``dvc exp show``."""
    document: dict[str, Any] = {}
    if covered and covered.missing:
        document["missing"] = covered.missing
    for row in rows:
        if row.is_reference and row.accuracy is not None:
            name = _name(row.workload, row.track)
            document.setdefault(name, {})["dense"] = _numbers(row)
    smallest = _smallest(standings)
    for key, table in best_rows(rows).items():
        workload, track, granularity = key
        for density, row in table.items():
            place = document.setdefault(_name(workload, track), {}).setdefault(granularity, {})
            place[target(density)] = {"best": row.method} | _numbers(row)
            if density in smallest.get(key, {}):
                place["smallest_difference"] = smallest[key][density]
    return json.dumps(document, indent=1) + "\n"


def _numbers(row: Row) -> dict[str, float]:
    assert row.accuracy is not None
    half = row.accuracy.half_width
    numbers = {"test_accuracy": row.accuracy.mean}
    return numbers if half is None else numbers | {"half_width": half}


def _name(workload: str, track: str) -> str:
    return workload if track == "from-scratch" else f"{workload} {track}"


def _accuracy(row: Row) -> str:
    assert row.accuracy is not None
    half = row.accuracy.half_width
    return f"{percent(row.accuracy.mean, 1)}{'' if half is None else f' ± {percent(half, 1)}'}"


def _cell(row: Row | None, rows: Sequence[Row]) -> str:
    if row is None:
        return MISSING
    alike = _alike(rows, row)
    return f"{row.method} {_accuracy(row)}{f' (+{alike})' if alike else ''}"
