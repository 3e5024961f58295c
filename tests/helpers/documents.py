"""Finds the commands in the documents; tests parse all of them, and run most.

A command is a line of a ``console`` or ``bash`` block, a ``python`` block, or inline code that
begins with one of `PROGRAMS`. Inline code with placeholders (``NAME``, ``[FOLDER]``, ``...``), or
with the name of a command alone, is a synopsis: tests parse it, but do not run it. A ``yaml`` block
that begins with ``# params.yaml`` is added to that file before the commands after it are run.

tests/helpers/command_rules.py decides which commands are not run. To exempt another command, put a
comment before its block: ``<!-- not run in tests: REASON -->``. Tests still parse it.
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
_BEGINNINGS = tuple(f"{program} " for program in PROGRAMS)


@dataclass(frozen=True)
class Command:
    """One command of a document, or a block of Python or of params.yaml.

    Parameters
    ----------
    page, line
        Where it is: the document and the line.
    kind
        ``shell``, ``python`` or ``params``.
    text
        The command.
    inline
        Whether it is inline code.
    marker
        Reason not to run it, from a comment before its block; or empty.
    """

    page: str
    line: int
    kind: str
    text: str
    inline: bool = False
    marker: str = ""

    @property
    def words(self) -> list[str]:
        """The command, split as a shell does."""
        return shlex.split(self.text, comments=True)

    @property
    def synopsis(self) -> bool:
        """Whether it has placeholders, or names a command without arguments."""
        placeholder = re.search(r"\b[A-Z][A-Z_]+\b(?!=)|\[|\.\.\.", self.text)
        no_arguments = len(self.words) < (4 if self.words[1] == "-m" else 3)
        return self.inline and (placeholder is not None or no_arguments)

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text.splitlines()[0]}"


def pages() -> list[str]:
    """Every document, in the order in which people read them."""
    paths = sorted((ROOT / "docs").rglob("*.md"))
    docs = [str(path.relative_to(ROOT)) for path in paths]
    return ["README.md", "RULES.md", "CONTRIBUTING.md", "CHANGELOG.md", *docs]


@cache
def commands(page: str) -> tuple[Command, ...]:
    """All commands of a page, in the order of the page."""
    return tuple(find(page, (ROOT / page).read_text()))


def find(page: str, text: str) -> Iterator[Command]:
    """Find the commands of a text, in the order of the text."""
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
            for child in token.children or ():
                if child.type == "code_inline" and child.content.startswith(_BEGINNINGS):
                    yield Command(page, line, "shell", child.content, True, marker)
            marker = ""


def _block(page: str, line: int, token: Token, marker: str) -> Iterator[Command]:
    if token.info in SHELL:
        for number, text in enumerate(token.content.splitlines(), start=line + 1):
            if shlex.split(text, comments=True):
                yield Command(page, number, "shell", text, marker=marker)
    elif token.info == "python":
        yield Command(page, line, "python", token.content, marker=marker)
    elif token.info == "yaml" and token.content.startswith(PARAMS_BLOCK):
        yield Command(page, line, "params", token.content)
