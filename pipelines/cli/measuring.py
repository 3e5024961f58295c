"""The command that measures what inference of final networks costs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import (
    OnlyDensities,
    OnlyMethods,
    OnlyWorkloads,
    project_root,
)
from pipelines.common.errors import InputError

#: Name of a measurement of runs that are no board, in markers and files.
RUNS = "runs"


def measure(
    runs: Annotated[
        list[str] | None,
        typer.Argument(help="Run ids, or their first characters; a run of 'dense' among them."),
    ] = None,
    board: Annotated[
        str | None, typer.Option(help="All cells of a board with one seed, instead of runs.")
    ] = None,
    workload: OnlyWorkloads = None,
    method: OnlyMethods = None,
    density: OnlyDensities = None,
    seed: Annotated[int, typer.Option(help="Seed of the cells of the board.")] = 0,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each network.")] = 15,
    update: Annotated[
        Path | None,
        typer.Option(help="Write the tables into this document, between its markers, too."),
    ] = None,
) -> None:
    """Measure the inference of final networks.

    Measures CPU time and, where the kernel shows RAPL, joules.
    The runs are repeated, because records hold no weights. Then the networks take turns. Records do
    not change: the result goes to results/measured.
    """
    from pipelines.export.rerun import find_record
    from pipelines.inference.measurement import by_workload
    from pipelines.inference.measurement import measure as measure_networks
    from pipelines.inference.table import to_markdown, update_document, write_json
    from pipelines.records.record import RunRecord

    if bool(runs) == bool(board):
        raise InputError("name runs, or a board by --board; not both.")
    root = project_root()
    if board:
        from pipelines.boards.params import load_params, read_densities
        from pipelines.records.store import board_store

        methods = [*method, "dense"] if method else None  # ratios are those over its time
        cells = load_params(root).cells(board, workload, methods, read_densities(density))
        asked = [board_store(root, board).find(cell) for cell in cells if cell.seed == seed]
        records = [record for record in asked if record is not None]
    else:
        records = [find_record(root, run) for run in runs or ()]
    if not (groups := by_workload(records)):
        raise InputError("none of these runs has a record with an outcome, so there is no network.")

    def say(record: RunRecord) -> None:
        print(f"network of {record.spec.label()}", file=sys.stderr)

    name = board or RUNS
    found = [measure_networks(root, group, rounds, on_network=say) for group in groups.values()]
    print(to_markdown(found))
    path = root / "results" / "measured" / f"{name}.json"
    write_json(path, found)
    if update is not None:
        update_document(update, name, found)
    print(f"Every turn: {path}")
