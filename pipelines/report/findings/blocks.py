"""The marked blocks of a document that findings fill, such as docs/findings.md."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

from pipelines.boards.params import Params
from pipelines.common.errors import InputError
from pipelines.common.files import atomic_file
from pipelines.common.markers import replace_between
from pipelines.records.store import board_store
from pipelines.report.findings.board_part import BoardPart, read_part
from pipelines.report.findings.claims import load_claims
from pipelines.report.findings.questions import questions
from pipelines.report.findings.sentences import findings_markdown, reading_markdown
from pipelines.report.findings.verdict_table import verdicts_markdown
from pipelines.report.findings.verdicts import judge

_MARK = re.compile(r"^<!-- (?:(findings|reading): (\S+) ([0-9.]+)|claims) -->$", re.MULTILINE)
#: The published claims, in the project's folder.
CLAIMS = Path("results") / "claims.yaml"


def fill_blocks(params: Params, root: Path, path: Path) -> list[str]:
    """Write findings, readings and verdicts between the markers of a document.

    A block stands between two markers: ``<!-- findings: BOARD DENSITY -->``,
    ``<!-- reading: BOARD DENSITY -->`` or ``<!-- claims -->``, and the same with ``end of``.

    Parameters
    ----------
    params
        Has the boards.
    root
        The project's folder, with the records and the claims.
    path
        The document.

    Returns
    -------
    list of str
        Names of the blocks.

    Raises
    ------
    InputError
        If the document has no block, if an end marker is missing, or if a board or density is
        unknown.
    BenchError
        If records must not be compared.
    """
    try:
        document = path.read_text()
    except FileNotFoundError as error:
        raise InputError(f"there is no {path}; give a document with marked blocks.") from error
    names = []
    whole = cache(lambda board: read_part(params, board, board_store(root, board)))
    for mark in _MARK.finditer(document):
        kind, board, density = mark.groups()
        if kind:
            name = f"{kind}: {board} {density}"
            text = _of_board(params, whole, kind, board, float(density))
        else:
            name = "claims"
            claims = load_claims(root / CLAIMS)
            text = verdicts_markdown(judge(params, lambda one: board_store(root, one), claims))
        filled = replace_between(document, name, text)
        if filled is None:
            raise InputError(
                f"{path} has no line '<!-- end of {name} -->'; add it where the block ends."
            )
        document = filled
        names.append(name)
    if not names:
        raise InputError(
            f"{path} has no lines '<!-- findings: BOARD DENSITY -->', "
            "'<!-- reading: BOARD DENSITY -->' or '<!-- claims -->'; add one, and its end, "
            "such as '<!-- end of claims -->'."
        )
    with atomic_file(path) as file:
        file.write(document.encode())
    return names


def _of_board(
    params: Params, whole: Callable[[str], BoardPart], kind: str, board: str, density: float
) -> str:
    """Write a block of one board at one density."""
    if density not in params.board(board).targets:
        known = ", ".join(map(str, params.board(board).targets))
        raise InputError(f"the board '{board}' has no density {density:g}; it has {known}.")
    part = whole(board)
    write = findings_markdown if kind == "findings" else reading_markdown
    return write(part, density, questions(part, density))
