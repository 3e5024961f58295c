"""Submissions: a contributor's records of some methods on a board, with what verifying needs."""

from __future__ import annotations

import json
from collections.abc import Container, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from baselines.shared.info import Granularity
from pipelines.audit.faults import Fault
from pipelines.audit.faults import faults as record_faults
from pipelines.audit.seal import SEAL, broken_seals, seal_folder
from pipelines.boards.hyperparameters import Changes
from pipelines.boards.params import Compute, Params
from pipelines.common.errors import BenchError, InputError, first_fault
from pipelines.common.files import atomic_file
from pipelines.records.digest import joint_digest, kind_of, method_meanings
from pipelines.records.files import copy_record, files_digest, read_record
from pipelines.records.record import Environment, RunRecord, environments_of
from pipelines.records.store import Store, board_folder
from pipelines.settings.spec import RunSpec

SCHEMA_VERSION = 1
#: File name of the manifest, a `Submission` as JSON.
MANIFEST = "submission.json"
#: Folders of records in a submission; they have the same names in the folder of a board.
FOLDERS = ("records", "controls")
#: Limit of the files of a submission: 20,000 records of two files each.
MOST_FILES = 40_000


class Submission(BaseModel):
    """The manifest of a submission.

    Parameters
    ----------
    board
        The board whose cells were run.
    names
        The submitted methods, each METHOD or METHOD:VARIANT.
    compute, methods, granularities, tuned, variants
        The contributor's entries in params.yaml and methods.yaml: threads and device, and the
        hyper-parameters of the submitted methods, their values at single granularities, their tuned
        values, and their variants.
    sources
        METHOD -> source file -> SHA-256 of what it means: comments and formatting do not count.
    code_digests
        METHOD -> one digest of all code that its records depend on.
    environments
        The environments in which the runs happened, each once.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int = SCHEMA_VERSION
    board: str
    names: tuple[str, ...]
    compute: Compute
    methods: dict[str, dict[str, Any]]
    granularities: dict[str, dict[Granularity, dict[str, Any]]] = Field(default_factory=dict)
    tuned: dict[str, Changes] = Field(default_factory=dict)
    variants: dict[str, dict[str, dict[str, Any]]]
    sources: dict[str, dict[str, str]]
    code_digests: dict[str, str]
    environments: tuple[Environment, ...]


def stage(
    params: Params, board: str, names: Sequence[str] | None, store: Store, folder: Path
) -> int:
    """Write the files of a submission into an empty folder.

    Parameters
    ----------
    params
        The contributor's params.yaml.
    board
        The board whose cells are submitted.
    names
        The submitted methods; None for all methods of the board.
    store
        The contributor's records.
    folder
        The empty folder.

    Returns
    -------
    int
        The number of records.

    Raises
    ------
    InputError
        If the board has no such method.
    BenchError
        If a cell has no record, or a file cannot be written.
    """
    names = tuple(names or params.board(board).methods)
    records = _records(params, board, names, store)
    copies = Store(folder / FOLDERS[0])
    for record in records:
        copies.copy(record.spec, store)
    methods = sorted({name.partition(":")[0] for name in names})
    environments = environments_of(records)
    submission = Submission(
        board=board,
        names=names,
        compute=params.compute,
        methods={name: params.methods.get(name, {}) for name in methods},
        granularities={n: params.granularities[n] for n in methods if n in params.granularities},
        tuned={name: params.tuned[name] for name in methods if name in params.tuned},
        variants={name: params.variants[name] for name in methods if name in params.variants},
        sources={name: method_meanings(name) for name in methods},
        code_digests={
            name: joint_digest(kind_of(r.spec) for r in records if r.spec.method == name)
            for name in methods
        },
        environments=environments,
    )
    with atomic_file(folder / MANIFEST) as file:
        text = json.dumps(submission.model_dump(mode="json"), sort_keys=True, indent=1)
        file.write(f"{text}\n".encode())
    seal_folder(folder)
    return len(records)


def _records(params: Params, board: str, names: Sequence[str], store: Store) -> list[RunRecord]:
    """Return the records of all cells of some methods: grid cells, matched runs and controls."""
    matched = [spec for spec in params.matched(board, store) if spec.name in names]
    specs = [
        *params.cells(board, methods=names),
        *matched,
        *params.controls(board, store, methods=names),
    ]
    found = [(spec, store.find(spec)) for spec in specs]
    if missing := [spec for spec, record in found if record is None]:
        raise BenchError(
            f"{len(missing)} of {len(specs)} runs have no record (first: {missing[0].label()}); "
            f"run: dpap-bench sweep --board {board}."
        )
    return [record for _, record in found if record is not None]


def faults(folder: Path, params: Params) -> Iterator[Fault]:
    """Find what is wrong with a submission.

    Parameters
    ----------
    folder
        The folder of the unpacked submission.
    params
        The params.yaml of this project, with the proposed change.

    Yields
    ------
    tuple of Path and str
        A file, and a sentence that says what is wrong with it.
    """
    manifest = folder / MANIFEST
    if not (folder / SEAL).is_file():
        yield folder / SEAL, "is missing; pack it with: dpap-bench submit."
    yield from broken_seals(folder)
    try:
        submission = _read(manifest)
        store = Store(folder / FOLDERS[0])
        missing = _missing(submission, params, store)
        asked = {spec.run_id for spec in _wanted(submission, params, store)}
    except BenchError as error:
        yield manifest, str(error)
        return
    yield from record_faults(*record_folders(folder))
    yield from _not_submitted(folder, submission, asked if not missing else None)
    for sentence in _other_settings(submission, params):
        yield manifest, sentence
    for method, files in submission.sources.items():
        for sentence in _different_sources(method, files):
            yield manifest, sentence
    for spec in missing:
        yield manifest, f"promises {spec.label()}, which has no record ({spec.run_id})."


def _read(manifest: Path) -> Submission:
    """Read a manifest.

    Raises
    ------
    InputError
        If it is missing, invalid, or of a newer schema.
    """
    try:
        found = Submission.model_validate_json(manifest.read_bytes())
    except OSError as error:
        raise InputError("is missing; pack it with: dpap-bench submit.") from error
    except ValidationError as error:
        raise InputError(f"is not a valid manifest: {first_fault(error)}") from error
    if found.schema_version > SCHEMA_VERSION:
        raise InputError(f"has schema version {found.schema_version}; update dpap-bench.")
    return found


def methods_of(folder: Path) -> list[str]:
    """Return the names of the methods of an unpacked submission that has no `faults`."""
    return sorted({name.partition(":")[0] for name in _read(folder / MANIFEST).names})


def _missing(submission: Submission, params: Params, store: Store) -> list[RunSpec]:
    """Return the cells of the board of this project that the submission has no record of."""
    return [spec for spec in _wanted(submission, params, store) if not store.path(spec).exists()]


def _wanted(submission: Submission, params: Params, store: Store) -> list[RunSpec]:
    """Return all cells of a submission: seeds, densities and settings are those of this project."""
    board = params.board(submission.board)
    new = tuple(name for name in submission.names if name not in board.methods)
    board = board.with_baselines(new)
    ours = params.model_copy(update={"boards": params.boards | {submission.board: board}})
    cells = ours.cells(submission.board, methods=submission.names)
    if any(not store.path(spec).exists() for spec in cells):
        return cells
    return [*cells, *ours.controls(submission.board, store, methods=submission.names)]


def _other_settings(submission: Submission, params: Params) -> Iterator[str]:
    """Find settings of a submission that are not those of this project."""
    if submission.compute != params.compute:
        yield (
            f"was computed with {submission.compute}, but params.yaml here has {params.compute}."
        )
    for field in ("methods", "granularities", "tuned", "variants"):
        for name, entry in getattr(submission, field).items():
            if entry != getattr(params, field).get(name, {}):
                yield (
                    f"has other {field} of {name} than params.yaml and methods.yaml here; check "
                    "out the proposed change."
                )


def _different_sources(method: str, files: dict[str, str]) -> Iterator[str]:
    """Find source files of a method that differ from the files here."""
    here = method_meanings(method)
    for name in sorted({*here, *files}):
        if here.get(name) != files.get(name):
            yield f"was made with a version of {name} that differs from the one here."


def _not_submitted(
    folder: Path, submission: Submission, asked: Container[str] | None
) -> Iterator[Fault]:
    """Find records of methods that are not submitted, tuning trials, and cells of no board.

    Matched runs belong to records of other methods, so they are not among the cells `asked`.
    """
    for record_folder in record_folders(folder):
        for path in sorted(record_folder.rglob("*.json")):
            with suppress(BenchError):  # `record_faults` reports it
                spec = read_record(path).spec
                if spec.tuning or spec.name not in submission.names:
                    yield path, f"is no run of {', '.join(submission.names)}; leave it out."
                elif asked is not None and not spec.matched_to and spec.run_id not in asked:
                    yield path, "is a cell that the board does not ask for; leave it out."


def board_places(boards: Path) -> list[list[Path]]:
    """Return the folders of records of each board in a folder of boards, board by board."""
    found = [record_folders(folder) for folder in sorted(boards.glob("*/"))]
    return [folders for folders in found if folders]


def places(path: Path) -> list[list[Path]]:
    """Return the folders of records that a folder stands for, board by board.

    A folder of results stands for its boards, and the folder of a board for its records and
    controls: their other JSON files are no records. Any other folder stands for itself.
    """
    boards = path if path.resolve().name == "boards" else path / "boards"
    return board_places(boards) if boards.is_dir() else [record_folders(path) or [path]]


def record_folders(folder: Path) -> list[Path]:
    """Return the folders of records in an unpacked submission, or in the folder of a board."""
    return [folder / name for name in FOLDERS if (folder / name).is_dir()]


def take_in(folder: Path, root: Path) -> int:
    """Copy the records of a submission to its board; call it only if there are no `faults`.

    Parameters
    ----------
    folder
        The folder of the unpacked submission.
    root
        The project's folder.

    Returns
    -------
    int
        The number of records that are new or changed.

    Raises
    ------
    BenchError
        If a record would replace another one, or cannot be written; nothing is replaced.
    """
    results = board_folder(root, _read(folder / MANIFEST).board)
    changed = 0
    paths = [path for part in record_folders(folder) for path in part.rglob("*.json")]
    there = [results / path.relative_to(folder) for path in paths]
    different = sorted(
        to.relative_to(root).as_posix()
        for path, to in zip(paths, there, strict=True)
        if to.exists() and files_digest(to) != files_digest(path)
    )
    if different:
        shown = ", ".join(different[:5]) + (", ..." if len(different) > 5 else "")
        raise BenchError(
            f"{len(different)} records here would be replaced: {shown}; move them away first if "
            "that is wanted."
        )
    for path in sorted(paths):
        to = results / path.relative_to(folder)
        if not to.exists() or files_digest(to) != files_digest(path):
            changed += 1
            copy_record(path, to)
    return changed
