"""Speed tables: from the races under tests/perf to docs/performance.{json,md}.

    python -m tools.speed_page BENCHMARKS.json... DOCS

reads what ``pytest --benchmark-json`` wrote, and ``make bench`` runs both; or what
``tests/perf/gpu.py`` wrote. Of races that were run again, the last file counts. Figures of other
machines stay; those of this one are replaced.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.common.errors import BenchError
from pipelines.common.files import atomic_file
from pipelines.settings.network import Execution
from pipelines.training.environment import environment
from tools.speed_overview import name_of, on_a_gpu, overview

BEGIN, END = "<!-- races -->", "<!-- end of races -->"


def summarize(benchmarks: dict[str, Any]) -> dict[str, Any]:
    """Keep what is said about speed: group -> entries, and the machine."""
    groups = defaultdict(list)
    for benchmark in benchmarks["benchmarks"]:
        extra = dict(benchmark["extra_info"])
        if "race" not in extra:
            extra["seconds"] = round(benchmark["stats"]["median"], 3)
        groups[benchmark["group"]].append({"name": benchmark["name"], **extra})
    machine = environment(1, Execution(plan="fused")).model_dump()
    return {
        "date": benchmarks["datetime"][:10],
        "machine": machine,
        "groups": dict(sorted(groups.items())),
    }


def with_machine(known: list[dict[str, Any]], summary: dict[str, Any]) -> list[dict[str, Any]]:
    """Put a machine first among its kind, in the place of what was known of it."""
    name = name_of(summary["machine"])
    machines = [summary, *(other for other in known if name_of(other["machine"]) != name)]
    return sorted(machines, key=lambda one: on_a_gpu(one["machine"]))


def to_markdown(summaries: list[dict[str, Any]]) -> str:
    """What matters, machines side by side; then every group of every machine as a table."""
    lines = [*overview(summaries)]
    for summary in summaries:
        lines += _machine(summary)
    return "\n".join(lines)


def _machine(summary: dict[str, Any]) -> list[str]:
    machine = summary["machine"]
    lines = [
        f"### {name_of(machine)}",
        "",
        f"{summary['date']}: {machine['platform']}, Python {machine['python']}, torch "
        f"{machine['torch']}, snnTorch {machine['snntorch']}.",
        "",
    ]
    for group, entries in summary["groups"].items():
        lines += [f"#### {group[0].upper()}{group[1:]}", ""]
        if "race" not in entries[0]:
            lines += [*_plain(entries), ""]
        elif len(entries) > 1:
            lines += [*_shares(entries), ""]
        else:
            lines += [*_race(entries[0]), ""]
    return lines


def _race(entry: dict[str, Any]) -> Iterator[str]:
    yield f"| | median ms | times as fast as '{entry['reference']}' (quartiles) |"
    yield "| --- | ---: | ---: |"
    ranked = sorted(entry["race"].items(), key=lambda item: -item[1]["ratio"][1])
    for name, figures in ranked:
        low, middle, high = figures["ratio"]
        time = figures["milliseconds"][1]
        yield f"| {name} | {time:,.1f} | {middle:.2f} ({low:.2f} to {high:.2f}) |"


def _shares(entries: list[dict[str, Any]]) -> Iterator[str]:
    yield "| | median ms | share of a training step, median | with updates, mean |"
    yield "| --- | ---: | ---: | ---: |"
    for entry in entries:
        for name, figures in entry["race"].items():
            if name != entry["reference"]:
                time, share = figures["milliseconds"][1], 1 / figures["ratio"][1]
                yield f"| {name} | {time:.2f} | {share:.1%} | {figures['share']:.1%} |"


def _plain(entries: list[dict[str, Any]]) -> Iterator[str]:
    yield "| | |"
    yield "| --- | ---: |"
    for entry in entries:
        title = entry["name"].removeprefix("test_").replace("_", " ")
        more = {k: v for k, v in entry.items() if k not in ("name", "seconds")}
        if not any("seconds" in key for key in more):
            yield f"| {title}, seconds | {entry['seconds']:.2f} |"
        for key, value in more.items():
            yield f"| {title}: {key} | {value:g} |"


def read(*files: Path) -> dict[str, Any]:
    """Summarize what was measured; what a later file holds, too, is taken from there."""
    found: list[dict[str, Any]] = [json.loads(file.read_text()) for file in files]
    if "groups" in found[-1]:
        return found[-1]
    tests = {(b["group"], b["name"]): b for one in found for b in one["benchmarks"]}
    return summarize(found[-1] | {"benchmarks": list(tests.values())})


def write(summary: dict[str, Any], docs: Path) -> None:
    """Write performance.json, and the tables between the markers of performance.md.

    Raises
    ------
    BenchError
        If the document has no markers.
    """
    data, document = docs / "performance.json", docs / "performance.md"
    known = json.loads(data.read_text())["machines"] if data.exists() else []
    machines = with_machine(known, summary)
    text = with_tables(document, to_markdown(machines))
    with atomic_file(data) as file:
        file.write((json.dumps({"machines": machines}, indent=1) + "\n").encode())
    with atomic_file(document) as file:
        file.write(text.encode())


def with_tables(document: Path, tables: str) -> str:
    """Return the text of a document with other tables between its markers.

    Raises
    ------
    BenchError
        If it has no markers.
    """
    before, found, rest = document.read_text().partition(BEGIN)
    _, closed, after = rest.partition(END)
    if not found or not closed:
        raise BenchError(f"{document} has no lines '{BEGIN}' and '{END}'; write them.")
    return f"{before}{BEGIN}\n\n{tables}{END}{after}"


if __name__ == "__main__":
    *measured, folder = map(Path, sys.argv[1:])
    write(read(*measured), folder)
