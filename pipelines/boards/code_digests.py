"""Code digests of all boards in one file for DVC: results/code.yaml."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import yaml

from pipelines.boards.params import Params
from pipelines.common.errors import BenchError
from pipelines.common.files import atomic_file
from pipelines.common.yaml import load_yaml
from pipelines.methods.catalogue import canonical, infos, of_plugin
from pipelines.records.digest import Kind, data_digest, joint_digest, kind_of
from pipelines.settings.own_data import own_data

#: The file, below the project's folder.
FILE = "results/code.yaml"
#: Key of the data sets beside the names of the boards.
DATA = "data"
_HEAD = """\
# Digests of the code that each board's cells use, by method, and of the readers of data sets. They
# change if the code gets another meaning, unless the canaries prove equal outcomes. DVC reruns the
# stages whose digest changes. Written by: dpap-bench digest
"""
#: The board that people extend, one stage per method in dvc.yaml. It has a digest of every method
#: of this repository, so that ``dvc repro`` finds that of a new one as soon as it is on the board.
OPEN_BOARD = "embedded"
#: Digits of a digest in the file.
_DIGITS = 16


def code_digests(params: Params) -> dict[str, dict[str, str]]:
    """Return board -> method -> digest of the code of all its cells; and ``data`` -> data set.

    Methods have their names in params.yaml; those of `OPEN_BOARD` that are not on it have both
    spellings. Variants, controls and matched runs of a method count with it.

    Raises
    ------
    InputError
        If there is no such method or data set.
    """
    found: dict[str, dict[str, str]] = {}
    every = {workload.data for workload in params.workloads.values()}
    used = {name for name in every if own_data(name) is None}  # no stage fetches the others
    found[DATA] = {name: data_digest(name)[:_DIGITS] for name in sorted(used)}
    for board in params.boards:
        kinds = _kinds(params, board)
        if board == OPEN_BOARD:
            kinds |= _not_on_board(params)
        found[board] = {name: joint_digest(kinds[name])[:_DIGITS] for name in sorted(kinds)}
    return found


def _kinds(params: Params, name: str) -> dict[str, set[Kind]]:
    """Return the kinds of the cells and controls of a board, by method."""
    board = params.board(name)
    names = {canonical(bare): bare for bare in (one.partition(":")[0] for one in board.methods)}
    found: dict[str, set[Kind]] = defaultdict(set)
    for spec in params.cells(name, admit=False):
        kind = kind_of(spec)
        found[names[kind.method]].add(kind)
        if "reinit" in board.controls:
            found[names[kind.method]].add(kind._replace(dense=True))
    return found


def _not_on_board(params: Params) -> dict[str, set[Kind]]:
    """Return the kinds that methods of this repository would have on `OPEN_BOARD`, by name."""
    board = params.board(OPEN_BOARD)
    there = {canonical(name.partition(":")[0]) for name in board.methods}
    others = tuple(name for name in infos() if name not in there and not of_plugin(name))
    extended = board.model_copy(update={"baselines": (*board.baselines, *others)})
    boards = {**params.boards, OPEN_BOARD: extended}
    kinds = _kinds(params.model_copy(update={"boards": boards}), OPEN_BOARD)
    return {
        spelling: kinds[name]
        for name in others
        if name in kinds
        for spelling in (name, name.replace("_", "-"))
    }


def write_code_digests(root: Path, params: Params) -> bool:
    """Write the digests into the file; return whether it changed.

    Raises
    ------
    BenchError
        If the file cannot be written.
    """
    text = _HEAD + yaml.safe_dump(code_digests(params))
    path = root / FILE
    if path.is_file() and path.read_bytes() == text.encode():
        return False
    with atomic_file(path) as file:
        file.write(text.encode())
    return True


def require_code_digests(root: Path, params: Params) -> None:
    """Raise BenchError if the file has other digests than the present code."""
    try:
        written = load_yaml(root / FILE)
    except (OSError, BenchError):
        written = None
    now = code_digests(params)
    old = written if isinstance(written, dict) else {}
    changed = sorted(name for name in now if now[name] != old.get(name))
    if changed:
        raise BenchError(
            f"{FILE} is out of date for {', '.join(changed)}: the code got another meaning. Run "
            "dpap-bench canaries --accept, which keeps the records if the outcomes are equal, then "
            "dpap-bench digest."
        )
