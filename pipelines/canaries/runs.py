"""Runs of canaries: their outcomes, and which functions of the code they ran."""

from __future__ import annotations

import ast
import inspect
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

from pipelines import data
from pipelines.canaries.cells import Canary
from pipelines.canaries.outcomes import Result, result_of
from pipelines.common.errors import BenchError
from pipelines.engines.engine import run_cells
from pipelines.records.digest import ROOT, code_digest
from pipelines.records.lineage import ROW, Code
from pipelines.records.outcome import EpochPoint
from pipelines.records.record import RunRecord
from pipelines.records.store import Store
from pipelines.settings.spec import RunSpec
from pipelines.training.cell import run_cell
from pipelines.training.resume import OutOfTime, Resume


def compute(
    canaries: Sequence[Canary], data_root: Path, workers: int
) -> Iterator[tuple[Canary, Result]]:
    """Run canaries and yield the outcome of each; records and checkpoints are not kept.

    A control whose parent is not ``ok`` cannot be run, and has no outcome.

    Parameters
    ----------
    canaries
        Any of the set; parents of controls are run, too.
    data_root
        Folder of fetched data sets; what is missing is put there.
    workers
        Number of processes.

    Raises
    ------
    BenchError
        If data cannot be written, or the code was changed meanwhile.
    """
    by_run_id: dict[str, list[Canary]] = defaultdict(list)
    for one in canaries:
        by_run_id[one.spec.run_id].append(one)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "records")
        for part in _in_order([one.spec for one in canaries], store, data_root):
            for record in run_cells(part, data_root, store, "processes", workers):
                if record.run_id not in by_run_id:
                    continue  # the parent of a control only
                if record.code_digest_end != code_digest(record.spec):
                    raise BenchError(
                        "the code was changed while the canaries ran; run the command again."
                    )
                for one in by_run_id[record.run_id]:
                    yield one, result_of(record)


def _in_order(specs: Iterable[RunSpec], store: Store, data_root: Path) -> Iterator[list[RunSpec]]:
    """Yield the cells that are no controls, then the controls whose parent has finished."""
    unique = list({spec.run_id: spec for spec in specs}.values())
    for name in sorted({spec.settings.data for spec in unique}):
        data.fetch(name, data_root)
    parents = {spec.parent.run_id: spec.parent for spec in unique}
    yield list(parents.values())
    controls = [spec for spec in unique if spec.control]
    parents_of = ((spec, store.parent(spec)) for spec in controls)
    possible = [spec for spec, parent in parents_of if parent and parent.status == "ok"]
    if possible:
        yield possible


def files_run(canaries: Sequence[Canary], data_root: Path) -> set[str]:
    """Return the files of our packages of which some canary ran a function, in this process.

    It runs one canary of each method, one that aims at SynOps, and all of workloads, but only one
    of those post-training. One is interrupted and goes on.

    Raises
    ------
    BenchError
        If that one ends otherwise than without the interruption.
    """
    of_methods = [one.spec for one in reversed(canaries) if one.of_method]
    methods = {spec.method: spec for spec in of_methods}
    aimed = [spec for spec in of_methods if spec.synops is not None][:1]
    workloads = [one.spec for one in canaries if not one.of_method]
    later = [spec for spec in workloads if spec.track == "post-training"]
    specs = [*methods.values(), *aimed, *(spec for spec in workloads if spec not in later[1:])]
    names: set[str] = set()

    def note(frame: FrameType, event: str, argument: object) -> None:
        del event, argument
        if frame.f_code.co_flags & inspect.CO_OPTIMIZED:  # no module and no body of a class
            names.add(frame.f_code.co_filename)

    before = sys.gettrace()
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "records")
        for part in _in_order(specs, store, data_root):
            sys.settrace(note)
            try:
                for record in run_cells(part, data_root, store, "serial", 1):
                    if record.spec == specs[0]:
                        _interrupted(record, data_root)
            finally:
                sys.settrace(before)
    paths = (Path(name) for name in names)
    return {path.relative_to(ROOT).as_posix() for path in paths if path.is_relative_to(ROOT)}


def _interrupted(record: RunRecord, data_root: Path) -> None:
    """Run a cell again, interrupt it after its first epoch, and let it go on."""
    with tempfile.TemporaryDirectory() as folder:
        resume = Resume(Path(folder) / "run.safetensors")

        def interrupt(_: EpochPoint) -> None:
            resume.limit = 0.0

        with suppress(OutOfTime):
            run_cell(record.spec, data_root, on_epoch=interrupt, resume=resume)
        again = run_cell(record.spec, data_root, resume=Resume(resume.path))
    if again.interruptions != 1 or result_of(again) != result_of(record):
        raise BenchError(
            f"{record.spec.label()} ends otherwise if it is interrupted, so nothing is accepted; "
            "tests/pipelines/training/test_resume.py shows where."
        )


def unreached(code: Code, run: set[str]) -> list[str]:
    """Return the files of the code of which no canary ran any function.

    A file without functions counts as reached, as its constants are read wherever it is imported.
    C code is reached if a function of its folder's modules ran.

    Parameters
    ----------
    code
        The code of this process.
    run
        Files of which functions ran, from `files_run`.
    """
    folders = {name.rpartition("/")[0] for name in run}
    found = []
    for name in sorted(code.files):
        file = name.partition(ROW)[0]
        if file.endswith(".py"):
            reached = file in run or not _has_functions(ROOT / file)
        else:
            reached = file.rpartition("/")[0] in folders
        if not reached:
            found.append(name)
    return found


def _has_functions(file: Path) -> bool:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    return any(isinstance(node, kinds) for node in ast.walk(ast.parse(file.read_bytes())))
