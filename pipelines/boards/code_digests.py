"""Code digests of all boards in one file for DVC: results/code.yaml."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import yaml

from pipelines.boards.params import Params
from pipelines.common.errors import BenchError
from pipelines.common.files import atomic_file
from pipelines.methods.catalogue import canonical
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
#: Digits of a digest in the file.
_DIGITS = 16


def code_digests(params: Params) -> dict[str, dict[str, str]]:
    """Return board -> method -> digest of the code of all its cells; and ``data`` -> data set.

    Methods have their names in params.yaml. Variants, controls and matched runs of a method count
    with it.

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


def write_code_digests(root: Path, params: Params) -> bool:
    """Write the digests into the file; return whether it changed.

    Raises
    ------
    BenchError
        If the file cannot be written.
    """
    text = _HEAD + yaml.safe_dump(code_digests(params))
    path = root / FILE
    if path.is_file() and path.read_text() == text:
        return False
    with atomic_file(path) as file:
        file.write(text.encode())
    return True


def require_code_digests(root: Path, params: Params) -> None:
    """Raise BenchError if the file has other digests than the present code."""
    try:
        written = yaml.safe_load((root / FILE).read_text())
    except (OSError, ValueError, yaml.YAMLError):
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
