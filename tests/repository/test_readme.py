"""What README.md shows stands on other pages, too, and fits on two screens."""

from __future__ import annotations

import re

from tests.helpers import documents
from tests.helpers.paths import ROOT


def test_the_readme_shows_what_other_pages_hold() -> None:
    """Its result is that of docs/baselines.md, and its loop that of docs/loop.md."""
    readme = (ROOT / "README.md").read_text()
    result = re.findall(r"^\| \w+ \| \d.+$", readme, re.MULTILINE)
    assert len(result) > 3
    assert set(result) <= set((ROOT / "docs" / "baselines.md").read_text().splitlines())
    (loop,) = (one.text for one in documents.commands("README.md") if one.kind == "python")
    example = (ROOT / "docs" / "loop.md").read_text()
    assert {line for line in loop.splitlines() if "..." not in line} <= set(example.splitlines())
    assert len(readme.splitlines()) <= 110, "two screens"
