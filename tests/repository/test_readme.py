"""README.md repeats figures and code of other pages, and fits on two screens."""

from __future__ import annotations

import re

from pipelines.boards.params import Params
from tests.helpers import documents
from tests.helpers.paths import ROOT


def test_the_figures_and_the_code_of_the_readme_are_those_of_other_pages(params: Params) -> None:
    """The tables are those of the quick board, and the training loop is from docs/loop.md."""
    readme = (ROOT / "README.md").read_text()
    _, _, rest = readme.partition("<!-- summary: quick -->")
    result = re.findall(r"^\| (\w+) \| \d.+$", rest, re.MULTILINE)
    board = params.board("quick")
    assert set(result) == set(board.methods) - {"dense"}
    assert f"over {len(board.seeds)} seeds" in readme
    (loop,) = (one.text for one in documents.commands("README.md") if one.kind == "python")
    example = (ROOT / "docs" / "loop.md").read_text()
    assert {line for line in loop.splitlines() if "..." not in line} <= set(example.splitlines())
    assert len(readme.splitlines()) <= 115, "two screens"
