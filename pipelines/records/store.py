"""The record store: a tree of JSON files, written atomically and read without importing torch."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pipelines.common.errors import BenchError
from pipelines.common.files import atomic_file
from pipelines.records.files import copy_record, read_record, write_record
from pipelines.records.record import RunRecord
from pipelines.settings.rules import RULES_VERSION
from pipelines.settings.spec import RunSpec


def board_folder(root: Path, board: str) -> Path:
    """Return the folder of a board, which holds its records, controls, tables and page.

    Parameters
    ----------
    root
        The project's folder.
    board
        Name of the board.
    """
    return root / "results" / "boards" / board


def board_store(root: Path, board: str) -> Store:
    """Return the store of a board's records, in the folder ``records`` of `board_folder`."""
    return Store(board_folder(root, board) / "records")


class Store:
    """A tree of records, ``root/WORKLOAD/METHOD/RUN_ID.json``.

    A variant has the folder ``METHOD-VARIANT``, and the runs matched to a method have the folder
    ``METHOD-matched``. Controls and dense checkpoints are in the folders ``controls`` and
    ``checkpoints`` beside `root`.

    Parameters
    ----------
    root
        Folder of the records; it need not exist.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def checkpoints(self) -> Path:
        """Folder of the trained dense networks that post-training starts from."""
        return self.root.parent / "checkpoints"

    def resume_point(self, spec: RunSpec) -> Path:
        """Return the path of the resume point of a cell, which exists while the cell runs."""
        return self.root.parent / "resume" / spec.workload / f"{spec.run_id}.safetensors"

    @property
    def claims(self) -> Path:
        """Folder of the claims of sweeps, which exist while cells run."""
        return self.root.parent / "claims"

    def controls(self, workload: str) -> Path:
        """Return the folder of the controls of a workload."""
        return self.root.parent / "controls" / workload

    def folder(self, workload: str, name: str) -> Path:
        """Return the folder of a method on a workload; `name` is METHOD or METHOD:VARIANT."""
        return self.root.joinpath(workload, name.replace(":", "-"))

    def path(self, spec: RunSpec) -> Path:
        """Return the path of the record of a cell, whether or not the record exists."""
        file = f"{spec.run_id}.json"
        if spec.control:
            name = f"{spec.name}-{spec.control}".replace(":", "-")
            return self.controls(spec.workload) / name / file
        name = f"{spec.matched_to}-matched" if spec.matched_to else spec.name
        return self.folder(spec.workload, name) / file

    def write(self, record: RunRecord) -> Path:
        """Write a record atomically: no reader sees half a file.

        Returns
        -------
        Path
            The path of the file.

        Raises
        ------
        BenchError
            If the file cannot be written.
        """
        path = self.path(record.spec)
        write_record(path, record)
        return path

    def require_writable(self, specs: Iterable[RunSpec]) -> None:
        """Require that the records of cells can be written, before hours are spent on them.

        Raises
        ------
        BenchError
            If a folder of theirs cannot be made, or no file in it.
        """
        for folder in {self.path(spec).parent for spec in specs}:
            trial = folder / ".trial"
            with atomic_file(trial):
                pass
            trial.unlink(missing_ok=True)

    def copy(self, spec: RunSpec, other: Store) -> None:
        """Copy the record of a cell from another store, which has it, byte by byte.

        Raises
        ------
        BenchError
            If a file cannot be written.
        """
        copy_record(other.path(spec), self.path(spec))

    def find(self, spec: RunSpec) -> RunRecord | None:
        """Return the record of a cell, made by any version of the code; None if there is none.

        Raises
        ------
        BenchError
            If the file of the cell is not a record, or is the record of another cell.
        """
        path = self.path(spec)
        if not path.exists():
            return None
        record = read_record(path, spec)
        if record.run_id != path.stem:
            raise BenchError(
                f"{path} is the record of another cell ({record.spec.label()}); move it to "
                f"{self.path(record.spec)}, or delete it."
            )
        return record

    def valid(self, spec: RunSpec) -> RunRecord | None:
        """Return the record of a cell if it is valid; None if the cell must run.

        A new run would give the same outcome as a valid record. All of these hold:

        - The current code of what its run uses made it, and the code did not change during the run.
        - It was made under the current rules (`RULES_VERSION`).
        - Its status is not ``failed``; the cause of a failure may have been removed since.
        - On the post-training track: it started from the current checkpoint, or no checkpoint
          exists.
        - If it is a control: it followed the present record of its parent.

        Parameters
        ----------
        spec
            The cell.

        Raises
        ------
        BenchError
            If the file of the cell is not a record, or is the record of another cell.
        """
        from pipelines.records.digest import is_current

        record = self.find(spec)
        if record is None or record.rules_version != RULES_VERSION or record.status == "failed":
            return None
        same_code = record.code_digest == record.code_digest_end and is_current(record)
        valid = same_code and self._has_current_start(record) and self.follows(record)
        return record if valid else None

    def parent(self, spec: RunSpec) -> RunRecord | None:
        """Return the record of a control's parent; None if there is none, or for other runs."""
        return self.find(spec.parent) if spec.control else None

    def follows(self, record: RunRecord) -> bool:
        """Whether a control followed the present record of its parent; True for other runs."""
        if not record.spec.control:
            return True
        parent = self.parent(record.spec)
        return record.parent == (parent.trajectory.digest if parent else "")

    def _has_current_start(self, record: RunRecord) -> bool:
        """Whether a run started from the current dense checkpoint, or no checkpoint exists."""
        if record.spec.track == "from-scratch":
            return True
        from pipelines.records.checkpoint import checkpoint_path, stored_digest

        path = checkpoint_path(self.checkpoints, record.spec)
        return not path.exists() or record.checkpoint == stored_digest(path)

    def missing(self, specs: Iterable[RunSpec]) -> list[RunSpec]:
        """Return the cells that must be run, because they have no valid record."""
        return [spec for spec in specs if self.valid(spec) is None]

    def adopt(self, specs: Iterable[RunSpec], others: Sequence[Store]) -> int:
        """Copy valid records of cells from other stores.

        If two boards have the same cell, it is computed only once.

        Parameters
        ----------
        specs
            Cells without a record in this store.
        others
            Stores to search, in this order.

        Returns
        -------
        int
            How many records were copied.
        """
        copied = 0
        for spec in specs:
            for other in others:
                if other.path(spec).exists() and other.valid(spec):
                    self.copy(spec, other)
                    copied += 1
                    break
        return copied

    def records(self) -> Iterator[tuple[Path, RunRecord]]:
        """Yield path and record of every file, sorted by folder and then by file name."""
        for name, folders, files in os.walk(self.root):
            folders.sort()
            folder = Path(name)
            for file in sorted(files):
                if file.endswith(".json"):
                    path = folder / file
                    yield path, read_record(path)
