"""Forged and honest boards: whether verify finds the first and spares the second.

``python -m tools.forgeries --update docs/publishing.md`` computes a small board of the digits in
several environments, forges copies of one of them, and has each verified by `DRAWS` draws of
second runs. The second runs are computed once, in this environment. It takes about ten minutes of
one core.

An honest board from elsewhere is made on this machine: with another instruction set, without a C
compiler, with two threads, or in bfloat16. Its table says how far it is from the limits of
`pipelines.audit.comparison`; a limit is there for each figure of the table.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from msgspec.structs import replace

from pipelines.audit import submission
from pipelines.audit.comparison import (
    COSTS_ELSEWHERE,
    MEAN_COSTS,
    MOST_APART,
    MOST_BETTER,
    Scatter,
    apart,
    log_costs,
)
from pipelines.audit.seal import seal_folder
from pipelines.audit.second_run import draw, second_runs
from pipelines.boards.params import load_params
from pipelines.common.files import atomic_file
from pipelines.common.yaml import load_yaml
from pipelines.records.correct import correct_samples, correct_text
from pipelines.records.files import read_record
from pipelines.records.outcome import PICOJOULE_AC, PICOJOULE_MAC, Cost, Outcome
from pipelines.records.record import RunRecord
from pipelines.records.store import Store, board_store

ROOT = Path(__file__).parent.parent
BOARD, METHOD, SEEDS, DRAWS = "quick", "magnitude", 6, 20
BEGIN, END = "<!-- forgeries: python -m tools.forgeries -->", "<!-- end of forgeries -->"

#: Name of an environment -> variables of the process that computes the board; threads, and the
#: precision of the workload. No variables: the environment of the second runs. `CC` without a
#: compiler has the plan `folded` instead of `fused`.
ENVIRONMENTS: dict[str, tuple[dict[str, str], tuple[int, str]]] = {
    "AVX2": ({"ATEN_CPU_CAPABILITY": "avx2"}, (1, "float32")),
    "no vector instructions": ({"ATEN_CPU_CAPABILITY": "default"}, (1, "float32")),
    "no C compiler": ({"CC": "/bin/false"}, (1, "float32")),
    "AVX2, no C compiler": (
        {"ATEN_CPU_CAPABILITY": "avx2", "CC": "/bin/false"},
        (1, "float32"),
    ),
    "AVX2, bfloat16": ({"ATEN_CPU_CAPABILITY": "avx2"}, (1, "bfloat16")),
    "AVX2, two threads": ({"ATEN_CPU_CAPABILITY": "avx2"}, (2, "float32")),
}
#: The board that is forged.
FORGED = "AVX2"
Change = Callable[[list[RunRecord]], list[RunRecord]]


@dataclass(frozen=True)
class Verdicts:
    """How often a board was found faulty.

    Parameters
    ----------
    name
        The board.
    reading
        Whether a fault is found without second runs.
    drawn
        Draws of second runs that find a fault.
    sentence
        One of the sentences.
    cells
        How many cells of the board have a second run.
    margins
        How far the board is from the limits, see `margins`.
    """

    name: str
    reading: bool
    drawn: int
    sentence: str
    cells: int
    margins: tuple[float, float, float, float]

    @property
    def found(self) -> int:
        """Draws in which verify refuses the board."""
        return DRAWS if self.reading else self.drawn


def outcomes(change: Callable[[Outcome], Outcome]) -> Change:
    """Forge the outcome of each record."""

    def forge(records: list[RunRecord]) -> list[RunRecord]:
        return [replace(r, outcome=change(r.outcome)) if r.outcome else r for r in records]

    return forge


def better(points: float) -> Callable[[Outcome], Outcome]:
    """Raise the test accuracy, and the confusion matrix and the correct samples with it."""

    def change(outcome: Outcome) -> Outcome:
        assert outcome.confusion is not None
        assert outcome.correct is not None
        assert outcome.test_accuracy is not None
        rows = [list(row) for row in outcome.confusion]
        samples = sum(map(sum, rows))
        more = min(round(points * samples), samples - round(outcome.test_accuracy * samples))
        bits = correct_samples(outcome.correct)[:samples].copy()
        bits[np.flatnonzero(~bits)[:more]] = True
        for _ in range(more):
            true, row = next((i, r) for i, r in enumerate(rows) if sum(r) > r[i])
            wrong = next(k for k, count in enumerate(row) if count and k != true)
            row[wrong], row[true] = row[wrong] - 1, row[true] + 1
        right = sum(row[i] for i, row in enumerate(rows))
        return replace(
            outcome,
            test_accuracy=right / samples,
            confusion=rows,
            correct=correct_text(bits),
        )

    return change


def cheaper(factor: float) -> Callable[[Outcome], Outcome]:
    """Divide the SynOps of all layers, and give the energy that follows."""

    def change(outcome: Outcome) -> Outcome:
        cost = outcome.cost
        layers = {
            name: replace(layer, effective_acs=layer.effective_acs * factor)
            for name, layer in cost.layers.items()
        }
        synops = sum(layer.effective_acs for layer in layers.values())
        energy = (PICOJOULE_MAC * cost.effective_macs + PICOJOULE_AC * synops) / 1000
        cost = replace(cost, layers=layers, synops=synops, energy_nanojoule=energy)
        return replace(outcome, cost=cost)

    return change


def costs(change: Callable[[Cost], Cost]) -> Change:
    """Forge the cost of each record."""
    return outcomes(lambda outcome: replace(outcome, cost=change(outcome.cost)))


def smaller(cost: Cost) -> Cost:
    """Halve the dense operations and the parameters."""
    layers = {
        name: replace(
            layer,
            dense_operations=max(
                math.ceil(layer.effective_macs + layer.effective_acs), layer.dense_operations // 2
            ),
        )
        for name, layer in cost.layers.items()
    }
    macs = sum(layer.dense_operations for layer in layers.values())
    return replace(cost, layers=layers, macs=macs, parameters=cost.parameters // 2)


def of_another(processor: str, *changes: Change) -> Change:
    """Apply changes, and name another processor."""

    def forge(records: list[RunRecord]) -> list[RunRecord]:
        for change in changes:
            records = change(records)
        return [
            replace(r, environment=r.environment.model_copy(update={"processor": processor}))
            for r in records
            if r.environment
        ]

    return forge


def validated(points: float) -> Change:
    """Raise test and validation accuracy, and the end of the curve."""

    def forge(records: list[RunRecord]) -> list[RunRecord]:
        found = []
        for record in outcomes(better(points))(records):
            assert record.outcome is not None
            unit = 1 / 180  # the validation split of the digits has 180 samples
            right = min(180, round((record.outcome.validation_accuracy + points) / unit))
            last = replace(record.curve[-1], validation_accuracy=right / 180)
            outcome = replace(record.outcome, validation_accuracy=right / 180)
            found.append(replace(record, outcome=outcome, curve=[*record.curve[:-1], last]))
        return found

    return forge


def best_seed(jitter: float) -> Change:
    """Give all seeds of a row the run of the best one, with losses that differ a little."""

    def forge(records: list[RunRecord]) -> list[RunRecord]:
        found = []
        for record in records:
            row = [r for r in records if r.spec.granularity == record.spec.granularity]
            best = max(row, key=lambda r: (r.outcome and r.outcome.test_accuracy) or 0.0)
            factor = 1 + jitter * (record.spec.seed + 1)
            curve = [replace(p, train_loss=p.train_loss * factor) for p in best.curve]
            found.append(replace(best, spec=record.spec, run_id=record.run_id, curve=curve))
        return found

    return forge


def early_epoch(records: list[RunRecord]) -> list[RunRecord]:
    """Edit the validation accuracy of the first epoch."""
    return [
        replace(r, curve=[replace(r.curve[0], validation_accuracy=0.5001), *r.curve[1:]])
        for r in records
    ]


def without_worst(records: list[RunRecord]) -> list[RunRecord]:
    """Leave out the worst seed of each row."""
    rows: dict[str, list[RunRecord]] = {}
    for record in records:
        rows.setdefault(record.spec.granularity, []).append(record)
    return [
        record
        for row in rows.values()
        for record in sorted(row, key=lambda r: (r.outcome and r.outcome.test_accuracy) or 0.0)[1:]
    ]


def respecified(**fields: Any) -> Change:
    """Change fields of the specs: cells that nobody asked for, under names that fit."""

    def forge(records: list[RunRecord]) -> list[RunRecord]:
        specs = [replace(r.spec, **fields) for r in records]
        return [
            replace(r, spec=spec, run_id=spec.run_id)
            for r, spec in zip(records, specs, strict=True)
        ]

    return forge


def more_seeds(records: list[RunRecord]) -> list[RunRecord]:
    """Add records of further seeds."""
    first = [r for r in records if r.spec.seed == 0]
    return [*records, *respecified(seed=99)([*best_seed(0.01)(first)])]


def other_row(records: list[RunRecord]) -> list[RunRecord]:
    """Give structured runs the costs of unstructured ones."""
    sparse = {r.spec.seed: r.outcome for r in records if r.spec.granularity == "unstructured"}
    found = []
    for record in records:
        outcome = sparse[record.spec.seed]
        if record.spec.granularity == "structured" and record.outcome and outcome:
            cost = replace(outcome.cost, density=record.outcome.cost.density)
            record = replace(record, outcome=replace(record.outcome, cost=cost))  # noqa: PLW2901
        found.append(record)
    return found


def tomorrow(records: list[RunRecord]) -> list[RunRecord]:
    """Start in the year 3000."""
    return [replace(r, started_at=r.started_at.replace(year=3000)) for r in records if r.started_at]


def other_code(records: list[RunRecord]) -> list[RunRecord]:
    """Name another version of the code."""
    return [replace(r, code_digest="0" * 64, code_digest_end="0" * 64) for r in records]


def balanced(outcome: Outcome) -> Outcome:
    """Give a confusion matrix of other classes, with the same accuracy."""
    assert outcome.confusion is not None
    return replace(outcome, confusion=[*outcome.confusion[1:], outcome.confusion[0]])


def rolled(outcome: Outcome) -> Outcome:
    """Give each class of the confusion matrix the numbers of the next one."""
    rows = outcome.confusion
    assert rows is not None
    count = len(rows)
    moved = [[rows[(i + 1) % count][(k + 1) % count] for k in range(count)] for i in range(count)]
    return replace(outcome, confusion=moved)


#: What is forged -> how. The forger seals the files again, and packs them as we do.
FORGERIES: dict[str, Change] = {
    "test accuracy + 1.8 points": outcomes(better(0.018)),
    "test and validation accuracy + 1.8 points": validated(0.018),
    "test accuracy + 5 points": outcomes(better(0.05)),
    "a tenth of the SynOps": outcomes(cheaper(0.1)),
    "three quarters of the SynOps": outcomes(cheaper(0.75)),
    "+ 1.8 points, a tenth of the SynOps, another processor": of_another(
        "Another CPU", outcomes(better(0.018)), outcomes(cheaper(0.1))
    ),
    "half of the MACs and parameters": costs(smaller),
    "energy without its operations": costs(
        lambda cost: replace(cost, energy_nanojoule=cost.energy_nanojoule / 2)
    ),
    "structured runs with the costs of unstructured ones": other_row,
    "the best seed under every seed": best_seed(0.0),
    "the best seed under every seed, losses moved by 0.01 %": best_seed(1e-4),
    "the best seed under every seed, losses moved by 1 %": best_seed(1e-2),
    "the worst seeds left out": without_worst,
    "a seed more": more_seeds,
    "validation accuracy of an early epoch": early_epoch,
    "confusion matrix of other classes": outcomes(rolled),
    "rows of the confusion matrix moved": outcomes(balanced),
    "other options": respecified(options={"updates": 7}),
    "another number of threads": respecified(threads=4),
    "another version of the code": other_code,
    "a start in the future": tomorrow,
}


def make_project(folder: Path, threads: int, precision: str, seeds: int) -> None:
    """Write a project with the small board."""
    params = load_yaml(ROOT / "params.yaml")
    assert isinstance(params, dict)
    board = params["boards"][BOARD] | {"seeds": [*range(seeds)]}
    params["boards"] = {BOARD: board}
    params["compute"] = {**params["compute"], "threads": threads}
    for name in board["workloads"]:
        workload = params["workloads"][name]
        workload["execution"] = {**workload.get("execution", {}), "precision": precision}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "params.yaml").write_text(json.dumps(params))
    shutil.copy(ROOT / "methods.yaml", folder)
    (folder / "data").mkdir(exist_ok=True)


def compute(folder: Path, variables: dict[str, str]) -> None:
    """Compute the board in a process with these variables."""
    command = [sys.executable, "-m", "pipelines.cli.main", "sweep", "--board", BOARD]
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    subprocess.run(  # noqa: S603 -- a command of this project
        [*command, "--method", METHOD, "--workers", "1"],
        cwd=folder,
        env=os.environ | variables | {"PYTHONPATH": paths},
        check=True,
        stdout=sys.stderr,
    )


def _second_runs(threads: int, precision: str) -> str:
    """Name the board of the second runs with these settings."""
    return f"second runs, {threads} threads, {precision}"


def verdicts(name: str, home: Path, change: Change | None, here: Store) -> Verdicts:
    """Submit the records of a project, forged if there is a change, and verify them.

    Parameters
    ----------
    name
        The name of the board in the table.
    home
        The project.
    change
        How the records are forged.
    here
        The records of the second runs.
    """
    params = load_params(home)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        submission.stage(params, BOARD, [METHOD], board_store(home, BOARD), folder)
        records = folder / submission.FOLDERS[0]
        if change is not None:
            forged = change([read_record(path) for path in sorted(records.rglob("*.json"))])
            shutil.rmtree(records)
            for record in forged:
                Store(records).write(record)
            seal_folder(folder)
        faults = [sentence for _, sentence in submission.faults(folder, params)]
        files = sorted(records.rglob("*.json"))

        def again(_: Path, record: RunRecord) -> tuple[RunRecord | None, list[str]]:
            second = here.find(record.spec)
            return second, [] if second else ["is a cell that was not computed here."]

        found = [(record, here.find(record.spec)) for record in map(read_record, files)]
        pairs = [(record, second) for record, second in found if second is not None]
        drawn = [list(second_runs(draw(files), files, again)) for _ in range(DRAWS)]
    sentences = [*faults, *(found[0][1] for found in drawn if found)]
    return Verdicts(
        name,
        bool(faults),
        sum(map(bool, drawn)),
        (sentences or [""])[0],
        len(pairs),
        margins(pairs),
    )


def margins(pairs: Sequence[tuple[RunRecord, RunRecord]]) -> tuple[float, float, float, float]:
    """Return what `pipelines.audit.comparison` limits, over all cells of a board.

    Returns
    -------
    tuple of float
        The largest difference of an accuracy, in standard deviations of the difference of two
        seeds; by how many standard errors an accuracy is better on average; the largest factor
        between two costs of a cell; and the factor on average (geometric mean).
    """
    if not pairs:
        return (0.0, 0.0, 1.0, 1.0)
    scatter = Scatter(record for record, _ in pairs)
    accuracies = [apart(record, again, scatter) for record, again in pairs]
    costs = [log_costs(r.outcome.cost, a.outcome.cost) for r, a in pairs if r.outcome and a.outcome]
    single = [abs(value) for row in accuracies for value in row.values()]
    better = [
        sum(row[name] for row in accuracies) / math.sqrt(len(pairs)) for name in accuracies[0]
    ]
    average = [abs(sum(row[name] for row in costs) / len(costs)) for name in costs[0]]
    factor = max(abs(value) for row in costs for value in row.values())
    return max(single), max(better), math.exp(factor), math.exp(max(average))


def honest_table(found: Sequence[Verdicts]) -> Iterator[str]:
    """Yield the lines of the table of honest boards in Markdown, with the limits in its head."""
    factor, mean = math.exp(COSTS_ELSEWHERE), math.exp(MEAN_COSTS)
    yield (
        f"| honest board | cells | accused | largest difference (< {MOST_APART}) "
        f"| better on average (< {MOST_BETTER}) "
        f"| factor of a cost (< {factor:.2f}) | on average (< {mean:.2f}) |"
    )
    yield "| --- |" + " --: |" * 6
    for one in found:
        single, better, factor, mean = one.margins
        yield (
            f"| {one.name} | {one.cells} | {one.found} of {DRAWS} | {single:.1f} | {better:.1f} | "
            f"{factor:.2f} | {mean:.2f} |"
        )


def table(found: Sequence[Verdicts], head: str, last: str) -> Iterator[str]:
    """Yield the lines of a table in Markdown."""
    yield f"| {head} | by reading | second runs | {last} |"
    yield "| --- | :-: | --: | --: |"
    for one in found:
        reading = "yes" if one.reading else ""
        yield f"| {one.name} | {reading} | {one.drawn} of {DRAWS} | {one.found} of {DRAWS} |"


def main(
    update: Annotated[
        Path | None, typer.Option(help="Page whose tables are replaced; default: print them.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=3, help="Seeds of the board.")] = SEEDS,
    environment: Annotated[
        list[str] | None, typer.Option(help="Only these environments, and the forged one.")
    ] = None,
    boards: Annotated[
        Path | None, typer.Option(help="Folder that keeps the computed boards for another call.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Boards computed at the same time.")] = 1,
) -> None:
    """Compute the boards, verify the honest and the forged ones, and print the tables."""
    names = [n for n in ENVIRONMENTS if not environment or n in (FORGED, *environment)]
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(workers) as pool:
        home = boards or Path(temporary)
        wanted = {name: ENVIRONMENTS[name] for name in names}
        again = {settings: _second_runs(*settings) for _, settings in wanted.values()}
        wanted |= {name: ({}, settings) for settings, name in again.items()}
        for name, (_, settings) in wanted.items():
            make_project(home / name, *settings, seeds)
        list(pool.map(lambda name: compute(home / name, wanted[name][0]), wanted))
        here = {settings: board_store(home / name, BOARD) for settings, name in again.items()}
        honest = [verdicts(name, home / name, None, here[wanted[name][1]]) for name in names]
        forged = [
            verdicts(name, home / FORGED, change, here[wanted[FORGED][1]])
            for name, change in FORGERIES.items()
        ]
    text = "\n".join(
        [
            *honest_table(honest),
            "",
            *table(forged, "forged board", "caught"),
        ]
    )
    print(text)
    for one in (*honest, *forged):
        print(f"{one.name}: {one.sentence}", file=sys.stderr)
    if update is not None:
        page = update.read_text()
        start, end = page.index(BEGIN) + len(BEGIN), page.index(END)
        with atomic_file(update) as file:
            file.write(f"{page[:start]}\n\n{text}\n\n{page[end:]}".encode())
    if any(one.found for one in honest) or any(one.found < DRAWS for one in forged):
        raise SystemExit("an honest board was accused, or a forged one was not found")


if __name__ == "__main__":
    typer.run(main)
