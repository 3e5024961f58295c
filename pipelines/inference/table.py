"""Measured costs as Markdown between the markers of a document, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median

from pipelines.common.alignment import align
from pipelines.common.errors import BenchError
from pipelines.common.files import atomic_file
from pipelines.common.markers import replace_between
from pipelines.export.removal import spearman
from pipelines.inference.measurement import Measured, Measurement
from pipelines.inference.race import Turns
from pipelines.metrics.numbers import MISSING, count, decimal
from pipelines.records.outcome import Cost

#: Heading -> the proxy of a record.
PROXIES: dict[str, Callable[[Cost], float]] = {
    "SynOps": lambda cost: cost.synops,
    "effective MACs": lambda cost: cost.effective_macs,
    "dense operations": lambda cost: float(cost.macs),
    "energy proxy, nJ": lambda cost: cost.energy_nanojoule,
}


def to_markdown(found: Sequence[Measurement]) -> str:
    """Write the tables of each workload."""
    return "\n".join("\n".join(_section(one)) for one in found)


def update_document(path: Path, name: str, found: Sequence[Measurement]) -> None:
    """Write the tables between ``<!-- measured: NAME -->`` and ``<!-- end of measured: NAME -->``.

    Raises
    ------
    BenchError
        If the document has no such markers.
    """
    marker = f"measured: {name}"
    text = replace_between(path.read_text(), marker, to_markdown(found))
    if text is None:
        raise BenchError(
            f"{path} has no lines '<!-- {marker} -->' and '<!-- end of {marker} -->'; add both "
            "lines where the tables should be."
        )
    with atomic_file(path) as file:
        file.write(text.encode())


def write_json(path: Path, found: Sequence[Measurement]) -> None:
    """Write what was measured, round by round; of the records, their run ids and labels."""
    document = []
    for one in found:
        entry = asdict(one)
        for row, measured in zip(entry["rows"], one.rows, strict=True):
            record = measured.record
            row["record"] = {"run_id": record.run_id, "label": record.spec.label()}
        document.append(entry)
    with atomic_file(path) as file:
        file.write((json.dumps(document, indent=1, sort_keys=True) + "\n").encode())


def measures(one: Measurement) -> dict[str, list[float | None]]:
    """Return measurement -> its median of each network; None for networks that have none.

    Joules are left out if they were not measured, and inference by events if no network has it.
    """
    columns: dict[str, list[float | None]] = {}
    for name, read in _ways(one).items():
        turns = [read(row) for row in one.rows]
        columns[f"µs, {name}"] = [1e6 * median(t.seconds) if t else None for t in turns]
        if not one.no_joules:
            columns[f"mJ, {name}"] = [1e3 * median(t.joules) if t else None for t in turns]
    return {name: values for name, values in columns.items() if any(values)}


def correlations(one: Measurement) -> dict[str, dict[str, float | None]]:
    """Return measurement -> proxy -> Spearman's rank correlation over the networks."""
    costs = [_cost(row) for row in one.rows]
    found: dict[str, dict[str, float | None]] = {}
    for name, values in measures(one).items():
        both = [(cost, v) for cost, v in zip(costs, values, strict=True) if v is not None]
        found[name] = {
            proxy: spearman([read(cost) for cost, _ in both], [v for _, v in both])
            for proxy, read in PROXIES.items()
        }
    return found


def _ways(one: Measurement) -> dict[str, Callable[[Measured], Turns | None]]:
    return {
        "alone": lambda row: row.one,
        f"of {one.batch}": lambda row: row.batch,
        "by events": lambda row: row.events,
    }


def _cost(row: Measured) -> Cost:
    assert row.record.outcome is not None
    return row.record.outcome.cost


def _section(one: Measurement) -> Iterator[str]:
    before, after = one.load
    yield f"**{one.workload}**, {one.date}, {one.processor}, torch {one.torch}, one thread; " + (
        f"{one.rounds} turns each; load average {before:.1f} before and {after:.1f} after."
    )
    yield ""
    yield from _rows([_head(one), *(_line(one, i) for i in range(len(one.rows)))])
    yield ""
    if one.no_joules:
        yield f"Joules were not measured: {one.no_joules}.\n"
    if one.no_events:
        yield f"Not every network was computed by events: {one.no_events}\n"
    yield f"Spearman's rank correlation over these {len(one.rows)} networks:\n"
    found = correlations(one)
    lines = [["", *PROXIES]]
    for name, by_proxy in found.items():
        lines.append([name, *(decimal(value) for value in by_proxy.values())])
    yield from _rows(lines)
    yield ""


def _head(one: Measurement) -> list[str]:
    return ["network", *PROXIES, *measures(one)]


def _line(one: Measurement, i: int) -> list[str]:
    row, dense = one.rows[i], one.rows[0]
    spec = row.record.spec
    name = "dense" if not i else f"{spec.name}, {spec.granularity}, {spec.density}"
    cells = [name, *(count(read(_cost(row))) for read in PROXIES.values())]
    ratios = {
        f"µs, {way}": _ratio(read(row), dense.one if way == "by events" else read(dense))
        for way, read in _ways(one).items()
    }
    for column, values in measures(one).items():
        value = values[i]
        ratio = ratios.get(column)
        text = MISSING if value is None else f"{value:,.3g}" if value < 100 else f"{value:,.0f}"
        cells.append(text + (f" ({ratio:.2f}x)" if ratio else ""))
    return cells


def _ratio(turns: Turns | None, dense: Turns | None) -> float | None:
    return turns.times_as_fast_as(dense) if turns and dense and turns is not dense else None


def _rows(lines: Sequence[Sequence[str]]) -> Iterator[str]:
    header, *body = align(lines, numbers=True)
    rule = ["-" * len(header[0]), *("-" * (len(cell) - 1) + ":" for cell in header[1:])]
    for line in (header, rule, *body):
        yield f"| {' | '.join(line)} |"
