"""Submissions: the records of somebody's methods on a board, and what it takes to judge them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from pipelines.audit.faults import SEAL, Fault, broken_seals, seal
from pipelines.audit.faults import faults as faults_of_records
from pipelines.boards.params import Compute, Params
from pipelines.common.errors import BenchError, InputError
from pipelines.common.files import atomic_file, sha256
from pipelines.methods.registry import source_files
from pipelines.records.digest import code_digest
from pipelines.records.record import Environment, RunRecord, read_record
from pipelines.records.store import Store, board_folder
from pipelines.settings.spec import RunSpec

SCHEMA_VERSION = 1
MANIFEST = "submission.json"
#: Folders of records, as they are below results/.
FOLDERS = ("records", "controls")


class Submission(BaseModel):
    """What a submission says of itself.

    Parameters
    ----------
    board
        Whose cells it has.
    names
        METHOD or METHOD:VARIANT.
    compute, methods, variants
        What the contributor's params.yaml says of how it was run, and of these methods.
    sources
        METHOD -> file -> SHA-256.
    code_digests
        METHOD -> digest of all code that its records depend on.
    environments
        Where its runs happened.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int = SCHEMA_VERSION
    board: str
    names: tuple[str, ...]
    compute: Compute
    methods: dict[str, dict[str, Any]]
    variants: dict[str, dict[str, dict[str, Any]]]
    sources: dict[str, dict[str, str]]
    code_digests: dict[str, str]
    environments: tuple[Environment, ...]


def stage(
    params: Params, board: str, names: Sequence[str] | None, store: Store, folder: Path
) -> int:
    """Lay a submission out in an empty folder; return how many records it has.

    Parameters
    ----------
    params
        The contributor's.
    board, names
        Whose cells, and of which of its methods; all if None.
    store
        Where the records are.
    folder
        Where to write.

    Raises
    ------
    InputError
        If the board has no such method.
    BenchError
        If a cell has no record.
    """
    names = tuple(names or params.board(board).methods)
    records = _records(params, board, names, store)
    own = Store(folder / FOLDERS[0])
    for record in records:
        with atomic_file(own.path(record.spec)) as file:
            file.write(store.path(record.spec).read_bytes())
    methods = sorted({name.partition(":")[0] for name in names})
    environments = {record.environment.model_dump_json(): record.environment for record in records}
    made = Submission(
        board=board,
        names=names,
        compute=params.compute,
        methods={name: params.methods.get(name, {}) for name in methods},
        variants={name: params.variants[name] for name in methods if name in params.variants},
        sources={name: _sources(name) for name in methods},
        code_digests={name: code_digest(name) for name in methods},
        environments=tuple(environments[text] for text in sorted(environments)),
    )
    with atomic_file(folder / MANIFEST) as file:
        text = json.dumps(made.model_dump(mode="json"), sort_keys=True, indent=1)
        file.write(f"{text}\n".encode())
    seal(folder)
    return len(records)


def _records(params: Params, board: str, names: Sequence[str], store: Store) -> list[RunRecord]:
    """Records of all cells of some methods: the board's cells, matched runs and controls."""
    matched = [spec for spec in params.matched(board, store) if spec.name in names]
    specs = [
        *params.cells(board, methods=names),
        *matched,
        *params.controls(board, store, methods=names),
    ]
    found = [(spec, store.find(spec)) for spec in specs]
    if missing := [spec for spec, record in found if record is None]:
        raise BenchError(
            f"{len(missing)} of {len(specs)} cells have no record (first: {missing[0].label()}); "
            f"run: dpap-bench sweep --board {board}."
        )
    return [record for _, record in found if record is not None]


def _sources(method: str) -> dict[str, str]:
    return {f"{file.parent.name}/{file.name}": sha256(file) for file in source_files(method)}


def faults(folder: Path, params: Params) -> Iterator[Fault]:
    """Say what is wrong with a submission.

    Parameters
    ----------
    folder
        Where it was unpacked.
    params
        Ours, in which the method's own entries stand in for what is there.
    """
    manifest = folder / MANIFEST
    if not (folder / SEAL).is_file():
        yield folder / SEAL, "is missing; pack it with: dpap-bench submit."
    yield from broken_seals(folder)
    try:
        submission = _read(manifest)
        missing = _missing(submission, params, Store(folder / FOLDERS[0]))
    except BenchError as error:
        yield manifest, str(error)
        return
    yield from faults_of_records(*record_folders(folder))
    yield from _strangers(folder, submission)
    for method, files in submission.sources.items():
        yield from ((manifest, sentence) for sentence in _other_source(method, files))
    for spec in missing:
        yield manifest, f"promises {spec.label()}, which has no record ({spec.run_id})."


def _read(manifest: Path) -> Submission:
    """Read what a submission says of itself, or say why that cannot be."""
    try:
        found = Submission.model_validate_json(manifest.read_bytes())
    except OSError as error:
        raise InputError("is missing; pack it with: dpap-bench submit.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"is no submission: {where}: {first['msg']}.") from error
    if found.schema_version > SCHEMA_VERSION:
        raise InputError(f"has schema version {found.schema_version}; update dpap-bench.")
    return found


def _missing(submission: Submission, params: Params, store: Store) -> list[RunSpec]:
    """Cells of our board that the submission has no record of, seeds and densities included."""
    board = params.board(submission.board)
    added = tuple(name for name in submission.names if name not in board.methods)
    board = board.model_copy(update={"baselines": board.baselines + added})
    theirs = params.model_copy(
        update={
            "boards": params.boards | {submission.board: board},
            "compute": submission.compute,
            "methods": params.methods | submission.methods,
            "variants": params.variants | submission.variants,
        }
    )
    cells = theirs.cells(submission.board, methods=submission.names)
    if missing := [spec for spec in cells if not store.path(spec).exists()]:
        return missing
    controls = theirs.controls(submission.board, store, methods=submission.names)
    return [spec for spec in controls if not store.path(spec).exists()]


def _other_source(method: str, files: dict[str, str]) -> Iterator[str]:
    here = _sources(method)
    for name in sorted({*here, *files}):
        if here.get(name) != files.get(name):
            yield f"was made with another {name} than is here."


def _strangers(folder: Path, submission: Submission) -> Iterator[Fault]:
    """Records of other methods than those that are submitted, and trials."""
    for record_folder in record_folders(folder):
        for path in sorted(record_folder.rglob("*.json")):
            with suppress(BenchError):  # which `faults_of_records` tells
                spec = read_record(path).spec
                if spec.tuning or spec.name not in submission.names:
                    yield path, f"is not of {', '.join(submission.names)}; pack it apart."


def board_places(root: Path) -> Iterator[list[Path]]:
    """Folders of records of each board below results/boards, board by board."""
    for folder in sorted((root / "results" / "boards").glob("*/")):
        if found := record_folders(folder):
            yield found


def record_folders(folder: Path) -> list[Path]:
    """Folders of records in an unpacked submission, or in the folder of a board."""
    return [folder / name for name in FOLDERS if (folder / name).is_dir()]


def take_in(folder: Path, root: Path) -> int:
    """Copy the records of a submission without fault to its board; return how many changed."""
    results = board_folder(root, _read(folder / MANIFEST).board)
    changed = 0
    for path in sorted(file for part in record_folders(folder) for file in part.rglob("*.json")):
        to, content = results / path.relative_to(folder), path.read_bytes()
        if not to.exists() or to.read_bytes() != content:
            changed += 1
            with atomic_file(to) as file:
                file.write(content)
    return changed
