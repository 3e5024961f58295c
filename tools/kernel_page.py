"""The table of pipelines/kernels/README.md: what each kernel gains in a whole run.

    python -m tools.kernel_page KERNELS.json...

reads what ``pytest tests/perf/test_kernels.py --benchmark-json`` wrote; ``make bench`` runs both.
Figures of other machines stay in docs/kernels.json, those of this one are replaced.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.common.files import atomic_file
from tools.speed_overview import name_of
from tools.speed_page import read, with_machine, with_tables

ROOT = Path(__file__).resolve().parents[1]
DATA, PAGE = ROOT / "docs" / "kernels.json", ROOT / "pipelines" / "kernels" / "README.md"
#: A kernel that gains less of a whole run on every machine is dropped.
ENOUGH = 0.1
#: How the name of a race begins that is a training step, not a whole run.
STEP = "step"


def to_markdown(machines: list[dict[str, Any]]) -> str:
    """One table for each machine."""
    return "\n".join(line for machine in machines for line in _machine(machine))


def gains(machine: dict[str, Any]) -> dict[str, dict[str, list[float]]]:
    """Kernel -> density -> quartiles of the part by which a run takes longer without it."""
    found: dict[str, dict[str, list[float]]] = {}
    for density, (entry,) in machine["groups"].items():
        for name, figures in entry["race"].items():
            if name != entry["reference"]:
                longer = sorted(1 / ratio - 1 for ratio in figures["ratio"])
                found.setdefault(name.removeprefix("without "), {})[density] = longer
    return found


def _machine(machine: dict[str, Any]) -> Iterator[str]:
    about, found = machine["machine"], gains(machine)
    columns = list(machine["groups"])
    turns = [f"{entry['rounds']} turns" for (entry,) in machine["groups"].values()]
    heads = [f"{column} ({number})" for column, number in zip(columns, turns, strict=True)]
    yield f"{name_of(about)}, {machine['date']}, torch {about['torch']}:"
    yield ""
    yield f"| kernel | {' | '.join(heads)} | |"
    yield f"| --- | {'---: | ' * len(columns)}--- |"
    for kernel, by_density in sorted(found.items(), key=lambda item: -max(_medians(item[1]))):
        cells = [f"{mid:.0%} ({low:.0%} to {high:.0%})" for low, mid, high in by_density.values()]
        runs = {race: found for race, found in by_density.items() if not race.startswith(STEP)}
        little = max(_medians(runs)) < ENOUGH
        yield f"| `{kernel}` | {' | '.join(cells)} | {f'under {ENOUGH:.0%}' if little else ''} |"
    yield ""


def _medians(by_density: dict[str, list[float]]) -> list[float]:
    return [middle for _, middle, _ in by_density.values()]


def write(summary: dict[str, Any], data: Path = DATA, page: Path = PAGE) -> None:
    """Write the data, and the tables between the markers of the page.

    Raises
    ------
    BenchError
        If the page has no markers.
    """
    known = json.loads(data.read_text())["machines"] if data.exists() else []
    machines = with_machine(known, summary)
    text = with_tables(page, to_markdown(machines))
    for path, content in (
        (data, json.dumps({"machines": machines}, indent=1) + "\n"),
        (page, text),
    ):
        with atomic_file(path) as file:
            file.write(content.encode())


if __name__ == "__main__":
    write(read(*map(Path, sys.argv[1:])))
