"""The commands in the documents.

A command is a line of a ``console`` or ``bash`` block, a ``python`` block, or inline code that
begins with one of `PROGRAMS`. Inline code with placeholders (``NAME``, ``[FOLDER]``, ``...``), or
of a verb alone, is a synopsis: it is parsed, and not run. A ``yaml`` block that begins with
``# params.yaml`` is written into that file before the commands that follow it.

To keep a command from being run that no rule of tests/helpers/command_rules.py exempts, put a
comment before its block: ``<!-- not run in tests: REASON -->``. It is parsed all the same.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.helpers.paths import ROOT

PARAMS_BLOCK = "# params.yaml\n"
SHELL = ("console", "bash", "sh", "shell")
PROGRAMS = ("dpap-bench", "make", "dvc", "python", "pip", "pre-commit")


@dataclass(frozen=True)
class Command:
    """One command of a document, or a block of Python or of params.yaml."""

    page: str
    line: int
    kind: str
    text: str
    inline: bool = False
    marker: str = ""

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text, comments=True)

    @property
    def synopsis(self) -> bool:
        placeholder = re.search(r"\b[A-Z][A-Z_]+\b(?!=)|\[|\.\.\.", self.text)
        name = len(self.words) < (4 if self.words[1] == "-m" else 3)
        return self.inline and (placeholder is not None or name)

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text.splitlines()[0]}"


def pages() -> list[str]:
    """Every document, in the order in which people read them."""
    found = sorted((ROOT / "docs").rglob("*.md"))
    top = ["README.md", "RULES.md", "CONTRIBUTING.md", "CHANGELOG.md"]
    return [*top, *(str(p.relative_to(ROOT)) for p in found)]


@cache
def commands(page: str) -> tuple[Command, ...]:
    """All commands of a page, in its order."""
    return tuple(find(page, (ROOT / page).read_text()))


def find(page: str, text: str) -> Iterator[Command]:
    """Commands of a text, in its order."""
    marker = ""
    for token in MarkdownIt().enable("table").parse(text):
        line = token.map[0] + 1 if token.map else 0
        if token.type == "html_block":
            comment = re.fullmatch(r"<!-- not run in tests: (.+) -->\s*", token.content)
            marker = comment[1] if comment else ""
        elif token.type == "fence":
            yield from _block(page, line, token, marker)
            marker = ""
        elif token.type == "inline":
            for code in (one.content for one in token.children or () if one.type == "code_inline"):
                if code.startswith(tuple(f"{program} " for program in PROGRAMS)):
                    yield Command(page, line, "shell", code, True, marker)
            marker = ""


def _block(page: str, line: int, token: Token, marker: str) -> Iterator[Command]:
    if token.info in SHELL:
        for number, one in enumerate(token.content.splitlines(), start=line + 1):
            if shlex.split(one, comments=True):
                yield Command(page, number, "shell", one, marker=marker)
    elif token.info == "python":
        yield Command(page, line, "python", token.content, marker=marker)
    elif token.info == "yaml" and token.content.startswith(PARAMS_BLOCK):
        yield Command(page, line, "params", token.content)
