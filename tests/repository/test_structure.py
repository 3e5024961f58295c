"""The documents name files and folders that exist, and docs/structure.md is the tree."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from docs import structure
from tests.helpers import documents
from tests.helpers.paths import ROOT

#: A path from the root of the repository: of a folder that is in git, or of a file at the top.
PATH = re.compile(
    r"(?:\.ci|\.github|baselines|docs|dpap|pipelines|tests)/[\w./*-]*|\w+\.(?:md|yaml)"
)
#: What commands of the documents write.
MADE = {"baselines/growth.py", "leaderboard.md", "study.yaml"}
#: Named already, and added by changes under way; each leaves this set as soon as it exists.
COMING = {
    "baselines/shared/sparse_training.py",
    "docs/metrics.md",
    "pipelines/audit/seal.py",
    "pipelines/kernels/README.md",
    "pipelines/metrics/table.py",
    "pipelines/networks/neurons/",
    "pipelines/networks/plans/",
    "tests/pipelines/metrics/",
}


def code(text: str) -> Iterator[str]:
    """Inline code of a Markdown text, in its order."""
    for token in MarkdownIt().enable("table").parse(text):
        for child in token.children or ():
            if child.type == "code_inline":
                yield child.content


def paths(text: str) -> list[str]:
    return [one for one in code(text) if PATH.fullmatch(one) and "NAME" not in one]


def exists(path: str) -> bool:
    return any(ROOT.glob(path))


#: The changelog tells of files that are gone.
PAGES = [page for page in documents.pages() if page != "CHANGELOG.md"]


@pytest.mark.parametrize("page", PAGES)
def test_the_files_that_a_document_names_exist(page: str) -> None:
    named = set(paths((ROOT / page).read_text())) - MADE - COMING
    assert not [path for path in named if not exists(path)]


def test_what_is_coming_is_not_there_yet() -> None:
    assert not [path for path in COMING if exists(path)], "take it out of COMING"


def test_paths_are_told_from_other_code() -> None:
    text = "`dpap/lost.py`, `results/local/`, `dpap-bench list`, `tests/perf/*.py`, `params.yaml`"
    assert paths(text) == ["dpap/lost.py", "tests/perf/*.py", "params.yaml"]
    assert [exists(path) for path in paths(text)] == [False, True, True]


def test_the_page_is_what_the_command_prints() -> None:
    """After a module was added, moved or removed: make structure."""
    assert structure.PAGE.read_text() == structure.page()


def test_the_table_has_every_module_of_every_package() -> None:
    table = structure.table()
    tracked = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    found = subprocess.run(tracked, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in found.split("\0"):
        file = Path(name)
        if file.suffix == ".py" and file.parts[0] in ("baselines", "dpap", "pipelines"):
            if not (ROOT / file).exists():
                continue  # moved, and not committed yet
            (row,) = (x for x in table.splitlines() if x.startswith(f"| `{file.parent}/` |"))
            summary = (ast.get_docstring(ast.parse((ROOT / file).read_text())) or "").split("\n")[0]
            assert summary in row if file.stem == "__init__" else f"`{file.stem}`" in row


def test_the_table_has_the_order_of_the_imports() -> None:
    rows = [line.split("`")[1] for line in structure.table().splitlines()[2:]]
    contract = ConfigParser()
    contract.read(ROOT / ".importlinter")
    rooms = re.split(r"[\s|]+", contract["importlinter:contract:rooms"]["layers"].strip())
    found = [row.split("/")[1] for row in rows if re.fullmatch(r"pipelines/\w+/", row)]
    assert found == rooms
    assert rows.index("dpap/") < rows.index("baselines/") < rows.index("baselines/shared/")


def changes() -> list[list[str]]:
    """Rows of the table of changes: what, where, test, page."""
    text = structure.PAGE.read_text().partition("## Where a change belongs")[2]
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


def test_the_command_draws_the_page(tmp_path: Path) -> None:
    """In a copy of the tree, whose page has lost its table."""
    (tmp_path / "docs").mkdir()
    for name in ("baselines", "dpap", "pipelines", ".importlinter"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "docs" / "structure.py").write_text(Path(structure.__file__).read_text())
    page = tmp_path / "docs" / "structure.md"
    page.write_text(f"before\n{structure.BEGIN}\nstale\n{structure.END}\nafter\n")
    command = [sys.executable, "-m", "docs.structure"]
    subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, check=True)
    assert page.read_text() == (
        f"before\n{structure.BEGIN}\n\n{structure.table()}\n\n{structure.END}\nafter\n"
    )
