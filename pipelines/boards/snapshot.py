"""Snapshots: the records of a board as a folder or a git revision has them."""

from __future__ import annotations

import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from pipelines.boards.hyperparameters import METHODS
from pipelines.boards.params import Params, load_params
from pipelines.boards.project import PARAMS, find_root
from pipelines.common.errors import BenchError, InputError
from pipelines.records.record import RunRecord
from pipelines.records.store import Store, board_folder


@dataclass(frozen=True)
class Snapshot:
    """A board at one time.

    Parameters
    ----------
    source
        The folder or revision that the records come from, as the user wrote it.
    board
        Name of the board.
    records
        Its records, controls included.
    settings_read
        Whether params.yaml of the same time says which records belong to the board. Without it, the
        newest record of each cell counts, also of cells that are no longer on the board.
    """

    source: str
    board: str
    records: tuple[RunRecord, ...]
    settings_read: bool

    @property
    def rules(self) -> frozenset[int]:
        """Versions of the rules that the records follow."""
        return frozenset(record.rules_version for record in self.records)


def read_snapshots(old: str, new: str, board: str | None, root: Path) -> tuple[Snapshot, Snapshot]:
    """Read a board at two times, which may be compared.

    Parameters
    ----------
    old, new
        The folder of a board, such as ``results/boards/quick``, or a git revision. The work tree is
        not changed.
    board
        Name of the board. None: the name of the folder, or ``quick`` for two revisions.
    root
        The project's folder, in whose git repository the revisions are.

    Raises
    ------
    InputError
        If one of them is neither a revision nor the folder of a board, or has no records; if they
        are different boards, or follow different versions of the rules.
    BenchError
        If a record is not valid, or git is missing.
    """
    names = [_board_of(Path(one)) for one in (old, new) if Path(one).exists()]
    if board is None and len({*names}) > 1:
        raise InputError(
            f"{old} is the board '{names[0]}', and {new} is the board '{names[1]}'; to compare "
            "them nevertheless, give --board NAME."
        )
    name = board or (names[0] if names else "quick")
    first, second = (_read(source, name, root) for source in (old, new))
    require_same_rules(first, second)
    return first, second


def require_same_rules(old: Snapshot, new: Snapshot) -> None:
    """Raise InputError if the boards follow different versions of the rules."""
    if old.rules != new.rules:
        raise InputError(
            f"{old.source} follows version {_versions(old)} of the rules, and {new.source} version "
            f"{_versions(new)}; such results must not be compared. Compute the older board again."
        )


def _versions(one: Snapshot) -> str:
    return " and ".join(map(str, sorted(one.rules)))


def _board_of(folder: Path) -> str:
    """Return the name of the board in a folder.

    Raises
    ------
    InputError
        If it is not the folder of a board.
    """
    if not (folder / "records").is_dir():
        raise InputError(
            f"{folder} is not the folder of a board: it has no folder 'records'. Give for example "
            "results/boards/quick, or a git revision."
        )
    return folder.resolve().name


def _read(source: str, board: str, root: Path) -> Snapshot:
    folder = Path(source)
    if folder.exists():
        return _snapshot(source, board, folder, _project(folder))
    with tempfile.TemporaryDirectory() as temporary:
        here = Path(temporary)
        _export(source, board, root, here)
        return _snapshot(source, board, board_folder(here, board), here)


def _project(folder: Path) -> Path | None:
    try:
        return find_root(folder.resolve())
    except BenchError:
        return None  # a copy of a board outside of a clone


def _snapshot(source: str, board: str, folder: Path, root: Path | None) -> Snapshot:
    """Read the records in the folder of a board; `root` has the settings of the same time."""
    store = Store(folder / "records")
    params = _settings(root, board)
    records = list(_asked(params, board, store) if params else _newest(folder))
    if not records:
        raise InputError(f"{source} has no records of the board '{board}'.")
    return Snapshot(source, board, tuple(records), params is not None)


def _settings(root: Path | None, board: str) -> Params | None:
    """Return the settings of a board; None if this version of the program cannot read them."""
    if root is None:
        return None
    try:
        params = load_params(root)
        params.cells(board, admit=False)
    except BenchError:
        return None
    return params


def _asked(params: Params, board: str, store: Store) -> Iterator[RunRecord]:
    """Yield the records of the cells that a board asks for."""
    for spec in params.everything(board, store):
        record = store.find(spec)
        if record is not None and store.follows(record):
            yield record


def _newest(folder: Path) -> Iterator[RunRecord]:
    """Yield the newest record of each cell, whatever its hyper-parameters are."""
    newest: dict[tuple[object, ...], RunRecord] = {}
    for part in ("records", "controls"):
        for _, record in Store(folder / part).records():
            spec = record.spec
            target = spec.matched_to or spec.aim
            key = (spec.workload, spec.name, spec.granularity, target, spec.seed, spec.track)
            other = newest.setdefault((*key, spec.control), record)
            if _time(record) > _time(other):
                newest[*key, spec.control] = record
    yield from newest.values()


def _time(record: RunRecord) -> float:
    return record.started_at.timestamp() if record.started_at else 0.0


def _export(revision: str, board: str, root: Path, to: Path) -> None:
    """Write the board and the settings of a git revision into a folder.

    Raises
    ------
    InputError
        If there is no such revision, or it has no records of the board.
    """
    found = _git(root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    if found is None:
        raise InputError(
            f"'{revision}' is neither a folder nor a git revision of this clone; 'git tag' and "
            "'git log --oneline' list revisions."
        )
    commit = found.decode().strip()
    results = board_folder(Path(), board).as_posix()
    wanted = [results, PARAMS, METHODS]
    listed = _git(root, "ls-tree", "-r", "--name-only", "-z", commit, "--", *wanted) or b""
    names = listed.decode().split("\0")
    if not any(name.startswith(f"{results}/records/") for name in names):
        raise InputError(
            f"revision '{revision}' has no records of the board '{board}' in git "
            f"({results}/records); give a revision that has them, or a folder."
        )
    there = [path for path in wanted if any(f"{name}/".startswith(f"{path}/") for name in names)]
    packed = _git(root, "archive", "--format=tar", commit, "--", *there) or b""
    with tarfile.open(fileobj=BytesIO(packed)) as archive:
        archive.extractall(to, filter="data")


def _git(root: Path, *arguments: str) -> bytes | None:
    """Run git in the project's folder and return its output; None if it fails.

    Raises
    ------
    BenchError
        If git is not installed.
    """
    try:
        done = subprocess.run(  # noqa: S603 - no shell
            ["git", *arguments],  # noqa: S607
            cwd=root,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise BenchError("git is not installed, so no revision can be read.") from error
    return None if done.returncode else done.stdout
