"""The command line: ``dpap-bench``. Results go to stdout, progress and errors to stderr."""

from __future__ import annotations

import json
import sys
from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from pipelines.cli import authoring, exporting, planning, publishing
from pipelines.cli.listing import Topic, rows_of, to_text
from pipelines.common.errors import BenchError, InputError

app = typer.Typer(
    name="dpap-bench",
    help="Fair comparisons of pruning methods for spiking and artificial networks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
On = Annotated[
    Literal["cpu", "cuda"] | None, typer.Option(help="Default: compute.device of params.yaml.")
]


class Engine(StrEnum):
    """How cells run."""

    serial = "serial"
    processes = "processes"


def _root() -> Path:
    from pipelines.boards.params import find_root

    return find_root(Path.cwd())


def _print_json(document: Any) -> None:
    print(json.dumps(document, indent=1, sort_keys=True, allow_nan=False))


@app.command("list")
def list_command(
    topic: Annotated[Topic, typer.Argument(help="What to list.")] = Topic.methods,
    as_json: Json = False,
) -> None:
    """List methods, workloads, boards or data sets."""
    from pipelines.boards.params import load_params

    rows = rows_of(topic, load_params(_root()))
    if as_json:
        _print_json(rows)
    else:
        print(to_text(rows))


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="Data set; see: dpap-bench list data")],
    as_json: Json = False,
) -> None:
    """Get a data set and verify it; nothing happens if it is there."""
    from pipelines import data

    folder = data.fetch(name, _root() / "data")
    if as_json:
        _print_json({"name": name, "path": str(folder)})
    else:
        print(f"{name} is complete in {folder}")


@app.command()
def run(
    workload: Annotated[str, typer.Option(help="See: dpap-bench list workloads")],
    method: Annotated[str, typer.Option(help="See: dpap-bench list methods")],
    density: Annotated[
        str | None, typer.Option(help="Kept / prunable weights in (0, 1], or 'emergent'.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    granularity: Annotated[
        str | None, typer.Option(help="structured, unstructured, hybrid; default: the method's.")
    ] = None,
    track: Annotated[str, typer.Option(help="from-scratch or post-training.")] = "from-scratch",
    device: On = None,
    again: Annotated[bool, typer.Option(help="Run even if a valid record exists.")] = False,
    as_json: Json = False,
) -> None:
    """Run one cell; its record goes to results/local and touches no board."""
    from pipelines import data
    from pipelines.boards.params import load_params, read_density
    from pipelines.engines.engine import run_cells
    from pipelines.records.store import Store

    root = _root()
    target = read_density(method, density)
    spec = load_params(root, device).spec(workload, method, granularity, target, seed, track)
    store = Store(root / "results" / "local")
    record = None if again else store.valid(spec)
    if record is None:
        data.fetch(spec.settings.data, root / "data")
        (record,) = run_cells([spec], root / "data", store, "serial", 1)
    path = store.path(spec)
    if as_json:
        _print_json(json.loads(record.to_json()) | {"path": str(path)})
    else:
        from pipelines.report.tables.text import one_line

        print(f"{one_line(record)}  {path.relative_to(root)}")
    if record.status != "ok":
        raise BenchError(f"the run is {record.status}: {record.message}")


@app.command()
def sweep(
    board: Annotated[str, typer.Option(help="See: dpap-bench list boards")] = "quick",
    workload: Annotated[list[str] | None, typer.Option(help="Only these workloads.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="Only these methods.")] = None,
    twins: Annotated[
        bool, typer.Option("--twins", help="Baselines at the densities of emergent rows instead.")
    ] = False,
    controls: Annotated[
        bool, typer.Option("--controls", help="Controls of the cells that are ok instead.")
    ] = False,
    engine: Annotated[Engine, typer.Option()] = Engine.processes,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Default: every core; one for a GPU.")
    ] = None,
    device: On = None,
    as_json: Json = False,
) -> None:
    """Run the cells of a board that have no valid record; resumes where it was stopped."""
    from tqdm import tqdm

    from pipelines import data
    from pipelines.boards.params import load_params
    from pipelines.engines.engine import default_workers, run_cells
    from pipelines.records.store import Store

    if twins and controls:
        raise InputError("--twins and --controls are two sweeps; run one after the other.")
    root = _root()
    params = load_params(root, device)
    store = Store(root / "results" / "records")
    part: Literal["cells", "twins", "controls"]
    part = "twins" if twins else "controls" if controls else "cells"
    everything = params.part(part, board, store)
    wanted = params.part(part, board, store, workload, method)
    todo = store.missing(wanted)
    for place in workload or ():  # a stage's output exists even if none of its cells makes sense
        for name in method or ():
            store.folder(place, name).mkdir(parents=True, exist_ok=True)
        store.controls(place).mkdir(parents=True, exist_ok=True)
    for name in sorted({spec.settings.data for spec in todo}):
        data.fetch(name, root / "data")
    count = workers or default_workers(params.compute.threads, params.compute.device)
    done = len(everything) - len(store.missing(everything))
    statuses: Counter[str] = Counter()
    with tqdm(total=len(everything), initial=done, desc=f"board {board}", unit="cell") as bar:
        for record in run_cells(todo, root / "data", store, engine.value, count):
            statuses[record.status] += 1
            if record.status != "ok":
                bar.write(f"{record.status}: {record.spec.label()}: {record.message}", sys.stderr)
            bar.set_postfix_str(record.spec.label(), refresh=False)
            bar.update()
    result = {"cells": len(wanted), "skipped": len(wanted) - len(todo), "run": len(todo)}
    if as_json:
        _print_json(result | {"statuses": dict(statuses), "records": str(store.root)})
    else:
        print(f"{result['run']} cells run, {result['skipped']} were there already")
    if statuses["failed"]:
        raise BenchError(
            f"{statuses['failed']} cells failed (see above); mend the method and run the same "
            "command again: the others are kept."
        )


@app.command()
def report(
    board: Annotated[str, typer.Option(help="See: dpap-bench list boards")] = "quick",
    update: Annotated[
        Path | None, typer.Option(help="Only put the board's tables into this document.")
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Print the board built last.")] = False,
    literature: Annotated[
        bool, typer.Option("--literature", help="Only print published results beside our rows.")
    ] = False,
    device: On = None,
) -> None:
    """Build tables, figures and the page of a board from its records, or show them."""
    root = _root()
    results = root / "results" / "boards" / board
    if not show:
        from pipelines.boards.params import load_params
        from pipelines.records.store import Store
        from pipelines.report.build import build, literature_markdown, update_tables

        store, params = Store(root / "results" / "records"), load_params(root, device)
        if literature:
            print(literature_markdown(params, board, store))
            return
        if update is not None:
            update_tables(params, board, store, update)
            print(f"Tables of {board}: {update}")
            return
        build(params, board, store, results)
    table = results / "leaderboard.md"
    if not table.exists():
        raise BenchError(
            f"the board '{board}' has not been built yet; run: dpap-bench report --board {board}"
        )
    if show:
        print(table.read_text())
    print(f"Page: {results / 'leaderboard.html'}")


@app.command()
def sync(
    uri: Annotated[
        str | None, typer.Option(help="MLflow tracking URI; default: sqlite:///mlflow.db here.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Bring MLflow up to date with the records; repeats change nothing."""
    from filelock import FileLock, Timeout

    from pipelines.boards.params import load_params
    from pipelines.report.tracking.experiments import experiments
    from pipelines.report.tracking.sink import synchronize

    root = _root()
    results = root / "results"
    (results / "local").mkdir(parents=True, exist_ok=True)
    try:
        # MLflow's tables are made by the first who writes; two at a time would break them.
        with FileLock(results / "local" / "sync.lock", timeout=0):
            found = experiments(load_params(root), results)
            counts = (
                synchronize(found, uri)
                if uri
                else synchronize(found, f"sqlite:///{root / 'mlflow.db'}", root / "mlruns")
            )
    except Timeout:
        raise BenchError("another dpap-bench sync is running here; wait until it ends.") from None
    if as_json:
        _print_json(counts)
    else:
        print(", ".join(f"{number} {what}" for what, number in counts.items()))


for command in (
    authoring.check,
    authoring.new_method,
    authoring.tune,
    publishing.verify,
    publishing.submit,
    publishing.publish,
    publishing.show,
    planning.plan,
    exporting.export,
):
    app.command()(command)


def main() -> None:
    """Run the command line; an error is one sentence and a status."""
    try:
        app()
    except BenchError as error:
        print(f"dpap-bench: {error}", file=sys.stderr)
        raise SystemExit(2 if isinstance(error, InputError) else 1) from None
    except KeyboardInterrupt:
        print(
            "dpap-bench: stopped; finished cells are kept, the same command goes on from there.",
            file=sys.stderr,
        )
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
