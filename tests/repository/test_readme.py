"""README.md: tables of the records in git, code of another page, and two screens at most."""

from __future__ import annotations

from pathlib import Path

from pipelines.boards.params import Params
from pipelines.records.store import board_store
from pipelines.report.build import update_tables
from tests.helpers import documents
from tests.helpers.paths import ROOT


def test_the_tables_are_those_of_the_records_in_git(params: Params, tmp_path: Path) -> None:
    """After a change of the records: dpap-bench report --board quick --update README.md."""
    readme = (ROOT / "README.md").read_text()
    copy = tmp_path / "README.md"
    start, end = (f"<!-- {name}summary: quick -->" for name in ("", "end of "))
    before, _, rest = readme.partition(start)
    copy.write_text(f"{before}{start}\n{end}{rest.partition(end)[2]}")
    update_tables(params, "quick", board_store(ROOT, "quick"), copy)
    assert copy.read_text() == readme
    assert f"over {len(params.board('quick').seeds)} seeds" in readme


def test_the_training_loop_is_that_of_another_page() -> None:
    (loop,) = (one.text for one in documents.commands("README.md") if one.kind == "python")
    example = (ROOT / "docs" / "loop.md").read_text()
    assert {line for line in loop.splitlines() if "..." not in line} <= set(example.splitlines())


def test_it_fits_on_two_screens() -> None:
    readme = (ROOT / "README.md").read_text()
    assert len(readme.splitlines()) <= 110, "two screens"
