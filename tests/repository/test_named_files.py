"""Files and folders that documents name exist; the tables of changes and words are complete."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from markdown_it import MarkdownIt

from tests.helpers import documents
from tests.helpers.paths import ROOT

#: A path from the root of the repository: in a folder that is in git, or a file at the top.
PATH = re.compile(
    r"(?:\.ci|\.github|baselines|docs|dpap|pipelines|tests|tools)/[\w./*-]*|\w+\.(?:md|yaml)"
)
#: Files that commands of the documents write.
MADE = {
    "baselines/growth.py",
    "baselines/travel.py",
    "jobqueue.yaml",
    "leaderboard.md",
    "study.yaml",
}


def code(text: str) -> Iterator[str]:
    """Yield the inline code of a Markdown text, in its order."""
    for token in MarkdownIt().enable("table").parse(text):
        for child in token.children or ():
            if child.type == "code_inline":
                yield child.content


def paths(text: str) -> list[str]:
    """Return the paths among the inline code of a text."""
    return [one for one in code(text) if PATH.fullmatch(one) and "NAME" not in one]


def exists(path: str) -> bool:
    return any(ROOT.glob(path))


#: Without the changelog, which names files that were removed.
PAGES = [page for page in documents.pages() if page != "CHANGELOG.md"]


@pytest.mark.parametrize("page", PAGES)
def test_the_files_that_a_document_names_exist(page: str) -> None:
    named = set(paths((ROOT / page).read_text())) - MADE
    assert not [path for path in named if not exists(path)]


def test_paths_are_distinguished_from_other_code() -> None:
    text = "`dpap/lost.py`, `results/local/`, `dpap-bench list`, `tests/perf/*.py`, `params.yaml`"
    assert paths(text) == ["dpap/lost.py", "tests/perf/*.py", "params.yaml"]
    assert [exists(path) for path in paths(text)] == [False, True, True]


def changes() -> list[list[str]]:
    """Return the rows of the table of changes: change, where, test, page."""
    text = (ROOT / "docs" / "structure.md").read_text().partition("## Where a change belongs")[2]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return rows[2:]


@pytest.mark.parametrize("row", changes(), ids=lambda row: row[0])
def test_a_change_has_a_folder_a_test_and_a_page(row: list[str]) -> None:
    _, where, test, page = row
    assert paths(where)
    assert all(path.startswith("tests/") for path in paths(test))
    assert all(path.endswith((".md", ".rst")) for path in paths(page))
    assert paths(test)
    assert paths(page)


@pytest.mark.parametrize(
    "change",
    [
        "data set",
        "neuron model",
        "network block",
        "metric",
        "method, with or without state",
        "board",
        "schedule",
        "engine",
        "kernel",
        "command",
        "schema",
        "look of the page",
    ],
)
def test_the_table_has_the_changes_that_people_make(change: str) -> None:
    assert any(change in row[0] for row in changes())


def test_a_word_of_the_glossary_has_one_meaning() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text()
    rows = re.findall(r"^\| \*\*(.+?)\*\* \| (.+?) \| (.+) \|$", text, re.MULTILINE)
    words = [word for word, _, _ in rows]
    assert len(words) == len(set(words)) > 40
    for word, meaning, home in rows:
        assert meaning.endswith("."), word
        assert paths(home), word
