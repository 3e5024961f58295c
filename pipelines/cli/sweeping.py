"""Commands that compute cells of a board: all that are missing, or some by their run ids."""

from __future__ import annotations

import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from pipelines.cli.options import (
    BoardName,
    DeviceName,
    Json,
    OnlyDensities,
    OnlyMethods,
    OnlyWorkloads,
    print_json,
    project_root,
)
from pipelines.common.errors import BenchError, InputError
from pipelines.engines.engine import EngineName

if TYPE_CHECKING:
    from pipelines.boards.params import Params, Part
    from pipelines.engines.engine import Engine, Terms
    from pipelines.records.record import RunRecord
    from pipelines.records.store import Store
    from pipelines.settings.spec import RunSpec

Limit = Annotated[
    float | None,
    typer.Option(
        min=1,
        help="Time limit of a cell, in s. What was computed until then is kept for the next call.",
    ),
]


class Only(StrEnum):
    """One part of a board."""

    cells = "cells"
    matched = "matched"
    controls = "controls"


def sweep(
    board: BoardName = "quick",
    workload: OnlyWorkloads = None,
    method: OnlyMethods = None,
    density: OnlyDensities = None,
    only: Annotated[
        Only | None,
        typer.Option(
            help="Only one part: the cells, the matched runs (baselines at the densities that "
            "DPAP found), or the controls. Default: all three; each run starts when the runs "
            "that it needs have ended."
        ),
    ] = None,
    engine: Annotated[
        EngineName,
        typer.Option(
            help="Run cells one after another, in several processes, or on workers of Dask."
        ),
    ] = "processes",
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Number of processes; default: one per core, or one on a GPU."),
    ] = None,
    scheduler: Annotated[
        str,
        typer.Option(
            help="For --engine dask: address of a scheduler that runs, or 'slurm' for workers that "
            "are jobs. Default: workers on this machine."
        ),
    ] = "",
    limit: Limit = None,
    device: DeviceName = None,
    as_json: Json = False,
) -> None:
    """Run the cells of a board that have no valid record.

    Finished cells are kept. After an interruption, the same command continues. Several sweeps of
    one board share its cells.
    """
    from pipelines.boards.params import Part, load_params, read_densities
    from pipelines.engines.engine import Terms, default_workers, make_engine
    from pipelines.engines.orphans import leave_with_dvc
    from pipelines.records.store import board_store

    leave_with_dvc()
    if scheduler and engine != "dask":
        raise InputError("--scheduler needs --engine dask.")
    root = project_root()
    params = load_params(root, device)
    store = board_store(root, board)
    params.board(board).require(workload, method)
    count = workers or default_workers(params.compute.threads, params.compute.device)
    parts: Sequence[Part] = get_args(Part) if only is None else (only.value,)
    _make_folders(store, params, board, workload, method, parts)
    plan = _Plan(root, params, board, store, parts)
    todo = plan.todo(workload, method, read_densities(density))
    started: EngineName | Engine = engine
    if engine == "dask" and todo:
        started = make_engine(engine, count, scheduler)
        print(f"Dask's dashboard: {started.dashboard}", file=sys.stderr)
        if reason := started.waits_for(params.compute.device):
            print(f"warning: {reason}", file=sys.stderr)
    statuses = _run(todo, plan, started, count, Terms(limit=limit))
    found = plan.found
    result = {name: found[name] for name in ("cells", "skipped", "run")}
    if as_json:
        print_json(result | {"statuses": dict(statuses), "records": str(store.root)})
    else:
        print(
            f"{result['run']} cells run, here or by another sweep; {result['skipped']} already had "
            "a valid record"
        )
    if statuses.total() < found["run"]:
        raise BenchError(
            f"{found['run'] - statuses.total()} runs have no record; run the same command again."
        )
    _require_none_failed(statuses)


def work(
    run_ids: Annotated[
        list[str] | None, typer.Argument(help="Run ids of cells of the board.")
    ] = None,
    board: BoardName = "quick",
    show: Annotated[
        bool,
        typer.Option(
            "--list", help="Print the run ids of the runs that are missing, and compute nothing."
        ),
    ] = False,
    limit: Limit = None,
    device: DeviceName = None,
) -> None:
    """Run exact cells of a board, for the job arrays of a cluster.

    A cell that has a valid record is skipped. One that another process computes is left to it, and
    the command ends with an error. A matched run or a control has an id only when the cell that it
    needs has a record.
    """
    from pipelines.boards.params import load_params
    from pipelines.engines.engine import Terms
    from pipelines.records.store import board_store

    if bool(run_ids) == show:
        raise InputError("give run ids, or --list to see which are missing.")
    root = project_root()
    params = load_params(root, device)
    store = board_store(root, board)
    known = {spec.run_id: spec for spec in params.everything(board, store)}
    plan = _Plan(root, params, board, store, ())
    if show:
        print(*(spec.run_id for spec in store.missing(known.values())), sep="\n")
        return
    for run_id in run_ids or ():
        if run_id not in known:
            raise InputError(
                f"board {board} has no cell {run_id}; 'dpap-bench work --board {board} --list' "
                "prints the ids of those that are missing."
            )
    asked = dict.fromkeys(run_ids or ())  # each once
    todo = plan.missing([known[run_id] for run_id in asked])
    with _sigterm_as_interrupt():
        statuses = _run(todo, plan, "serial", 1, Terms(limit=limit, waits=False))
    run, elsewhere = statuses.total(), len(todo) - statuses.total()
    print(f"{run} of {len(asked)} cells run; {len(asked) - len(todo)} already had a valid record")
    _require_none_failed(statuses)
    if elsewhere:
        raise BenchError(
            f"{elsewhere} cells are computed by another process and have no record yet; run the "
            "same command again when it has ended."
        )


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """End as after Ctrl-C when a scheduler ends the job, so that claims are released."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@dataclass
class _Plan:
    """The runs of a sweep, and which of them follow others.

    Parameters
    ----------
    parts
        Parts of the board that are computed.
    """

    root: Path
    params: Params
    board: str
    store: Store
    parts: Sequence[Part]

    def __post_init__(self) -> None:
        self.found: Counter[str] = Counter()
        self.cells: set[str] = set()  # run ids of the cells that this sweep computes

    def todo(
        self,
        workload: Sequence[str] | None,
        method: Sequence[str] | None,
        densities: Sequence[float | str] | None,
    ) -> list[RunSpec]:
        """Return the runs that can start; the others follow when their cells have ended."""
        from pipelines.records.store import Store

        cells = self.cells

        class Ended(Store):
            """The records of cells that are not computed anew."""

            def find(self, spec: RunSpec) -> RunRecord | None:
                return None if spec.run_id in cells else super().find(spec)

        found: list[RunSpec] = []
        for part in self.parts:
            ended = Ended(self.store.root)
            wanted = self.params.part(part, self.board, ended, workload, method, densities)
            todo = self.missing(wanted)
            if part == "cells":
                cells.update(spec.run_id for spec in todo)
            found += todo
        return found

    def follow(self, record: RunRecord) -> list[RunSpec]:
        """Return the matched runs and controls of a cell that this sweep has computed."""
        cell, wanted = record.spec, []
        if cell.run_id not in self.cells:
            return []
        if "matched" in self.parts:
            wanted += self.params.matched_of(self.board, cell, record)
        if "controls" in self.parts:
            wanted += self.params.controls_of(self.board, cell, record)
        return self.missing(wanted)

    def missing(self, wanted: Sequence[RunSpec]) -> list[RunSpec]:
        """Return the runs that must be computed, after copying valid records of other boards."""
        from pipelines.records.store import board_store

        todo = self.store.missing(wanted)
        others = [board_store(self.root, one) for one in self.params.boards if one != self.board]
        if todo and self.store.adopt(todo, others):
            todo = self.store.missing(todo)
        self.found += Counter(cells=len(wanted), skipped=len(wanted) - len(todo), run=len(todo))
        return todo


def _require_none_failed(statuses: Counter[str]) -> None:
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


def _run(
    todo: Sequence[RunSpec],
    plan: _Plan,
    engine: EngineName | Engine,
    workers: int,
    terms: Terms,
) -> Counter[str]:
    """Run cells, show progress, and count how they ended."""
    from pipelines import data
    from pipelines.cli.progress import Progress
    from pipelines.engines.engine import run_cells

    statuses: Counter[str] = Counter()
    if not todo:
        return statuses
    for name in sorted({spec.settings.data for spec in todo}):
        data.fetch(name, plan.root / "data")
    with Progress(len(todo), f"board {plan.board}", "cell") as progress:

        def follow(record: RunRecord) -> Iterable[RunSpec]:
            more = plan.follow(record)
            progress.extend(len(more))
            return more

        follows: Callable[[RunRecord], Iterable[RunSpec]] | None = follow if plan.cells else None
        place = plan.root / "data"
        for record in run_cells(todo, place, plan.store, engine, workers, follows, terms):
            statuses[record.status] += 1
            if record.status != "ok":
                progress.write(f"{record.status}: {record.spec.label()}: {record.message}")
            progress.advance(record.spec.label())
    return statuses
