"""Commands that compute: fetch data, run one cell, run the missing cells of a board."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from pipelines.cli.options import (
    BoardName,
    DataName,
    DeviceName,
    Json,
    OnlyDensities,
    OnlyMethods,
    OnlyWorkloads,
    Uri,
    print_json,
    project_root,
)
from pipelines.cli.tracking import run_live
from pipelines.common.errors import BenchError, InputError
from pipelines.engines.engine import Engine

if TYPE_CHECKING:
    from pipelines.boards.params import Params, Part
    from pipelines.records.store import Store
    from pipelines.settings.spec import RunSpec


class Only(StrEnum):
    """One part of a board."""

    cells = "cells"
    matched = "matched"
    controls = "controls"


def fetch(
    name: DataName,
    checksums: Annotated[
        Path | None,
        typer.Option(help="Write the SHA-256 of each file of the data set to this file, for DVC."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Download a data set and verify it.

    Nothing is downloaded if it is complete.
    """
    from pipelines import data

    folder = data.fetch(name, project_root() / "data")
    if checksums is not None:
        _write_checksums(folder, checksums)
    if as_json:
        print_json({"name": name, "path": str(folder)})
    else:
        print(f"{name} is complete in {folder}")


def _write_checksums(folder: Path, path: Path) -> None:
    """Write the checksums of all files of a data set in the format of ``sha256sum``."""
    from pipelines.audit.seal import checksums
    from pipelines.common.files import atomic_file

    files = {
        file.relative_to(folder.parent).as_posix(): file
        for file in folder.rglob("*")
        if file.is_file()
    }
    with atomic_file(path) as out:
        out.write(checksums(files).encode())


def run(
    workload: Annotated[
        str, typer.Option(help="Name of a workload; 'dpap-bench list workloads' shows all.")
    ],
    method: Annotated[
        str,
        typer.Option(help="METHOD or METHOD:VARIANT; 'dpap-bench list methods' shows all methods."),
    ],
    density: Annotated[
        str | None,
        typer.Option(
            help="Target density, kept / prunable weights in (0, 1]; or 'emergent': the method "
            "finds the density."
        ),
    ] = None,
    synops: Annotated[
        float | None,
        typer.Option(
            min=1,
            help="Target SynOps per sample, in the place of a density. The density is searched on "
            "validation samples.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all random numbers.")] = 0,
    granularity: Annotated[
        str | None,
        typer.Option(
            help="What is removed: structured, hybrid, unstructured or spatio-temporal. Default: "
            "the first that the method supports."
        ),
    ] = None,
    track: Annotated[
        str,
        typer.Option(help="from-scratch, or post-training: start from a trained dense network."),
    ] = "from-scratch",
    device: DeviceName = None,
    again: Annotated[bool, typer.Option(help="Run even if a valid record exists.")] = False,
    live: Annotated[
        bool, typer.Option("--live", help="Show the curve in MLflow while the cell trains.")
    ] = False,
    uri: Uri = None,
    as_json: Json = False,
) -> None:
    """Run one cell and print its result.

    A cell is one workload, method, granularity, target, seed and track. The record is written to
    results/local; no board changes.
    """
    from pipelines import data
    from pipelines.boards.params import load_params, read_density
    from pipelines.engines.engine import run_cells
    from pipelines.records.store import Store
    from pipelines.settings.spec import SYNOPS

    if uri and not live:
        raise InputError("--uri says where --live writes to; give both, or neither.")
    root = project_root()
    target = read_density(method, density) if synops is None or density else SYNOPS
    params = load_params(root, device)
    spec = params.spec(workload, method, granularity, target, seed, track, synops)
    store = Store(root / "results" / "local")
    record = None if again else store.valid(spec)
    if record is None:
        data.fetch(spec.settings.data, root / "data")
        if live:
            from pipelines.report.tracking.target import choose_target

            record = run_live(spec, root, store, choose_target(root, uri))
        else:
            (record,) = run_cells([spec], root / "data", store, "serial", 1)
    elif live:
        print("a valid record exists, so nothing is trained; see --again.", file=sys.stderr)
    path = store.path(spec)
    if as_json:
        print_json(json.loads(record.to_json()) | {"path": str(path)})
    else:
        from pipelines.report.tables.run_line import one_line

        print(f"{one_line(record)}  {path.relative_to(root)}")
    if record.status != "ok":
        raise BenchError(f"the run is {record.status}: {record.message}")


def sweep(
    board: BoardName = "quick",
    workload: OnlyWorkloads = None,
    method: OnlyMethods = None,
    density: OnlyDensities = None,
    only: Annotated[
        Only | None,
        typer.Option(
            help="Only one part: the cells, the matched runs (baselines at the densities that "
            "DPAP found), or the controls. Default: all three, in this order."
        ),
    ] = None,
    engine: Annotated[
        Engine, typer.Option(help="Run cells one after another, or in several processes.")
    ] = "processes",
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Number of processes; default: one per core, or one on a GPU."),
    ] = None,
    device: DeviceName = None,
    as_json: Json = False,
) -> None:
    """Run the cells of a board that have no valid record.

    Finished cells are kept. After an interruption, the same command continues.
    """
    from pipelines.boards.params import Part, load_params, read_densities
    from pipelines.engines.engine import default_workers
    from pipelines.engines.orphans import leave_with_dvc
    from pipelines.records.store import board_store

    leave_with_dvc()
    root = project_root()
    params = load_params(root, device)
    store = board_store(root, board)
    params.board(board).require(workload, method)
    count = workers or default_workers(params.compute.threads, params.compute.device)
    parts: Sequence[Part] = get_args(Part) if only is None else (only.value,)
    _make_folders(store, params, board, workload, method, parts)
    densities = read_densities(density)
    found: Counter[str] = Counter()
    statuses: Counter[str] = Counter()
    for part in parts:
        wanted = params.part(part, board, store, workload, method, densities)
        todo = _missing(root, params, board, wanted, store)
        found += Counter(cells=len(wanted), skipped=len(wanted) - len(todo), run=len(todo))
        title = f"board {board}" if part == "cells" else f"board {board}, {part}"
        statuses += _run(todo, root, store, engine, count, title)
    result = {name: found[name] for name in ("cells", "skipped", "run")}
    if as_json:
        print_json(result | {"statuses": dict(statuses), "records": str(store.root)})
    else:
        print(f"{result['run']} cells run, {result['skipped']} already had a valid record")
    if statuses.total() < found["run"]:
        raise BenchError(
            f"{found['run'] - statuses.total()} cells have no record; run the same command again."
        )
    if statuses["failed"]:
        raise BenchError(
            f"{statuses['failed']} cells failed (see above); correct the method and run the same "
            "command again. Finished cells are kept."
        )


def _make_folders(
    store: Store,
    params: Params,
    board: str,
    workloads: Sequence[str] | None,
    methods: Sequence[str] | None,
    parts: Sequence[Part],
) -> None:
    """Create the output folders of a DVC stage; they must exist even if the stage has no cell.

    Git keeps no empty folder, so the folders that may stay empty get an empty file.

    Raises
    ------
    BenchError
        If a folder cannot be written.
    """
    folders = [store.checkpoints] if "post-training" in params.board(board).tracks else []
    for place in workloads or params.board(board).workloads:
        folders += [store.controls(place)] if "controls" in parts else []
        folders += [store.folder(place, name) for name in methods or ()]
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / ".gitkeep").touch()
        except OSError as error:
            raise BenchError(
                f"cannot write {folder} ({error.strerror or error}); choose a folder that you may "
                "write to, then run the same command again."
            ) from error


def _missing(
    root: Path, params: Params, board: str, wanted: Sequence[RunSpec], store: Store
) -> list[RunSpec]:
    """Return the cells that must be run, after copying valid records from other boards."""
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


def digest(
    check: Annotated[
        bool, typer.Option("--check", help="Only say whether the file is up to date.")
    ] = False,
) -> None:
    """Write the code digests of all boards to results/code.yaml, for DVC.

    There is one digest for each board and method. DVC reruns the stages of a method when its digest
    changes.
    """
    from pipelines.boards.code_digests import FILE, require_code_digests, write_code_digests
    from pipelines.boards.params import load_params

    root = project_root()
    params = load_params(root)
    if check:
        require_code_digests(root, params)
        print(f"{FILE} is up to date")
    elif write_code_digests(root, params):
        print(f"{FILE} written")
    else:
        print(f"{FILE} has not changed")
