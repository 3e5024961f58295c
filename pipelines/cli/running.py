"""Verbs that compute: fetch data, run one cell, run the missing cells of a board."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from pipelines.cli.options import Json, On, print_json, project_root
from pipelines.common.errors import BenchError
from pipelines.engines.engine import Engine

if TYPE_CHECKING:
    from pipelines.boards.params import Params
    from pipelines.records.digest import Kind
    from pipelines.records.store import Store
    from pipelines.settings.spec import RunSpec


class Only(StrEnum):
    """One part of a board."""

    cells = "cells"
    matched = "matched"
    controls = "controls"


def fetch(
    name: Annotated[str, typer.Argument(help="Data set; see: dpap-bench list data")],
    as_json: Json = False,
) -> None:
    """Get a data set and verify it; nothing happens if it is there."""
    from pipelines import data

    folder = data.fetch(name, project_root() / "data")
    if as_json:
        print_json({"name": name, "path": str(folder)})
    else:
        print(f"{name} is complete in {folder}")


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

    root = project_root()
    target = read_density(method, density)
    spec = load_params(root, device).spec(workload, method, granularity, target, seed, track)
    store = Store(root / "results" / "local")
    record = None if again else store.valid(spec)
    if record is None:
        data.fetch(spec.settings.data, root / "data")
        (record,) = run_cells([spec], root / "data", store, "serial", 1)
    path = store.path(spec)
    if as_json:
        print_json(json.loads(record.to_json()) | {"path": str(path)})
    else:
        from pipelines.report.tables.run_line import one_line

        print(f"{one_line(record)}  {path.relative_to(root)}")
    if record.status != "ok":
        raise BenchError(f"the run is {record.status}: {record.message}")


def sweep(
    board: Annotated[str, typer.Option(help="See: dpap-bench list boards")] = "quick",
    workload: Annotated[list[str] | None, typer.Option(help="Only these workloads.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="Only these methods.")] = None,
    only: Annotated[
        Only | None,
        typer.Option(
            help="Only this part: cells, then baselines matched to the densities that emerged, "
            "then controls. Default: one after the other."
        ),
    ] = None,
    engine: Annotated[Engine, typer.Option(help="How cells run.")] = "processes",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Default: every core; one for a GPU.")
    ] = None,
    device: On = None,
    as_json: Json = False,
) -> None:
    """Run the cells of a board that have no valid record; resumes where it was stopped."""
    from pipelines.boards.params import Part, load_params
    from pipelines.engines.engine import default_workers
    from pipelines.records.store import board_store

    root = project_root()
    params = load_params(root, device)
    store = board_store(root, board)
    params.board(board)
    _make_folders(store, params, board, workload, method)
    count = workers or default_workers(params.compute.threads, params.compute.device)
    parts: Sequence[Part] = get_args(Part) if only is None else (only.value,)
    found: Counter[str] = Counter()
    statuses: Counter[str] = Counter()
    for part in parts:
        wanted = params.part(part, board, store, workload, method)
        todo = _missing(root, params, board, wanted, store)
        found += Counter(cells=len(wanted), skipped=len(wanted) - len(todo), run=len(todo))
        title = f"board {board}" if part == "cells" else f"board {board}, {part}"
        statuses += _run(todo, root, store, engine, count, title)
    result = {name: found[name] for name in ("cells", "skipped", "run")}
    if as_json:
        print_json(result | {"statuses": dict(statuses), "records": str(store.root)})
    else:
        print(f"{result['run']} cells run, {result['skipped']} were there already")
    if statuses["failed"]:
        raise BenchError(
            f"{statuses['failed']} cells failed (see above); mend the method and run the same "
            "command again: the others are kept."
        )


def _make_folders(
    store: Store,
    params: Params,
    board: str,
    workloads: Sequence[str] | None,
    methods: Sequence[str] | None,
) -> None:
    """Make the outputs of a DVC stage, which must exist even if no cell of it makes sense."""
    for place in workloads or params.board(board).workloads:
        store.controls(place).mkdir(parents=True, exist_ok=True)
        for name in methods or ():
            store.folder(place, name).mkdir(parents=True, exist_ok=True)


def _missing(
    root: Path, params: Params, board: str, wanted: Sequence[RunSpec], store: Store
) -> list[RunSpec]:
    """Cells without a valid record on this board or, copied from there, on another."""
    from pipelines.records.store import board_store

    todo = store.missing(wanted)
    others = [board_store(root, other) for other in params.boards if other != board]
    return store.missing(todo) if todo and store.adopt(todo, others) else todo


def _run(
    todo: Sequence[RunSpec], root: Path, store: Store, engine: Engine, workers: int, title: str
) -> Counter[str]:
    """Run cells, show progress, and count how they ended."""
    from pipelines import data
    from pipelines.cli.progress import Progress
    from pipelines.engines.engine import run_cells

    statuses: Counter[str] = Counter()
    if not todo:
        return statuses
    for name in sorted({spec.settings.data for spec in todo}):
        data.fetch(name, root / "data")
    with Progress(len(todo), title, "cell") as progress:
        for record in run_cells(todo, root / "data", store, engine, workers):
            statuses[record.status] += 1
            if record.status != "ok":
                progress.write(f"{record.status}: {record.spec.label()}: {record.message}")
            progress.advance(record.spec.label())
    return statuses


def digest() -> None:
    """Write one digest of the code of each method's cells, which DVC compares, to results/code."""
    from pipelines.boards.params import load_params
    from pipelines.common.files import atomic_file
    from pipelines.records.digest import joint_digest

    root = project_root()
    kinds = _kinds(load_params(root))
    for name, own in sorted(kinds.items()):
        with atomic_file(root / "results" / "code" / name) as file:
            file.write(f"{joint_digest(own)}\n".encode())
    print(f"{len(kinds)} methods: {root / 'results' / 'code'}")


def _kinds(params: Params) -> dict[str, set[Kind]]:
    """Kinds of the cells and controls of all boards, by their methods as params.yaml has them."""
    from pipelines.methods.catalogue import canonical
    from pipelines.records.digest import kind_of

    bare = {name.partition(":")[0] for board in params.boards.values() for name in board.methods}
    names = {canonical(name): name for name in bare}
    found: dict[str, set[Kind]] = {name: set() for name in bare}
    for name, board in params.boards.items():
        kinds = {kind_of(spec) for spec in params.cells(name, admit=False)}
        if "reinit" in board.controls:
            kinds |= {kind._replace(dense=True) for kind in kinds}
        for kind in kinds:
            found[names[kind.method]].add(kind)
    return found
