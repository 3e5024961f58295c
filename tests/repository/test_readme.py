"""README.md repeats figures and code of other pages, and fits on two screens."""

from __future__ import annotations

import re

from tests.helpers import documents
from tests.helpers.paths import ROOT


def test_the_figures_and_the_code_of_the_readme_are_those_of_other_pages() -> None:
    """The table is from docs/baselines.md, and the training loop from docs/loop.md."""
    readme = (ROOT / "README.md").read_text()
    result = re.findall(r"^\| \w+ \| \d.+$", readme, re.MULTILINE)
    assert len(result) > 3
    assert set(result) <= set((ROOT / "docs" / "baselines.md").read_text().splitlines())
    (loop,) = (one.text for one in documents.commands("README.md") if one.kind == "python")
    example = (ROOT / "docs" / "loop.md").read_text()
    assert {line for line in loop.splitlines() if "..." not in line} <= set(example.splitlines())
    assert len(readme.splitlines()) <= 110, "two screens"
