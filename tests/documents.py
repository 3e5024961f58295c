"""The commands in the documents: found, parsed, and left out of a run by rule alone.

A command is a line of a ``console`` or ``bash`` block, a ``python`` block, or inline code that begins
with one of `PROGRAMS`. Inline code with placeholders (``NAME``, ``[FOLDER]``, ``...``), or of a verb
alone, is a synopsis: it is parsed, and not run. A ``yaml`` block that begins with ``# params.yaml``
is written into that file before the commands that follow it.

To keep a command from being run that no rule of `reason` covers, put a comment before its block:
``<!-- not run in tests: REASON -->``. It is parsed all the same.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import yaml
from markdown_it import MarkdownIt
from typer.main import get_command

from pipelines.cli import app
from pipelines.core import data
from pipelines.core.errors import BenchError
from pipelines.export import PLACES
from pipelines.grid import Params, read_density

ROOT = Path(__file__).parent.parent
PARAMS_BLOCK = "# params.yaml\n"
SHELL = ("console", "bash", "sh", "shell")
#: Cells of a board that the tests compute.
FEW = 30


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
        return self.inline and (placeholder is not None or len(self.words) < 3)

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text.splitlines()[0]}"


def pages() -> list[str]:
    """Every document, in the order in which people read them."""
    found = sorted((ROOT / "docs").rglob("*.md"))
    return ["README.md", "RULES.md", "CONTRIBUTING.md", *(str(p.relative_to(ROOT)) for p in found)]


@cache
def commands(page: str) -> tuple[Command, ...]:
    """All commands of a page, in its order."""
    return tuple(find(page, (ROOT / page).read_text()))


def find(page: str, text: str) -> Iterator[Command]:
    """Commands of a text, in its order."""
    inline_code = re.compile(rf"({'|'.join(map(re.escape, PROGRAMS))}) ")
    marker = ""
    for token in MarkdownIt().enable("table").parse(text):
        line = token.map[0] + 1 if token.map else 0
        if token.type == "html_block":
            comment = re.fullmatch(r"<!-- not run in tests: (.+) -->\s*", token.content)
            marker = comment[1] if comment else ""
        elif token.type == "fence":
            if token.info in SHELL:
                for number, one in enumerate(token.content.splitlines(), start=line + 1):
                    if shlex.split(one, comments=True):
                        yield Command(page, number, "shell", one, marker=marker)
            elif token.info == "python":
                yield Command(page, line, "python", token.content, marker=marker)
            elif token.info == "yaml" and token.content.startswith(PARAMS_BLOCK):
                yield Command(page, line, "params", token.content)
            marker = ""
        elif token.type == "inline":
            for child in token.children or ():
                if child.type == "code_inline" and inline_code.match(child.content):
                    yield Command(page, line, "shell", child.content, True, marker)
            marker = ""


class Checker:
    """Parses the commands of one page, in order; it knows what earlier ones have made."""

    def __init__(self, params: Params) -> None:
        self.params = params
        self.new_methods: set[str] = set()
        self.run_ids: set[str] = set()

    def fault(self, command: Command) -> str:
        """Return what is wrong with a command, in a sentence, or nothing."""
        try:
            if command.kind == "params":
                self.params = with_block(self.params, command.text)
            elif command.kind == "python":
                compile(command.text, command.page, "exec")
            else:
                self._line(command.words, loose=command.inline)
        except (BenchError, ValueError, SyntaxError) as error:
            return f"{command}: {error}"
        return ""

    def _line(self, words: Sequence[str], loose: bool) -> None:
        if words[0] not in PROGRAMS:
            raise ValueError(
                f"no rule covers '{words[0]}'; teach tests/documents.py what it is, or show "
                "another command"
            )
        PROGRAMS[words[0]](self, words[1:], loose)

    def dpap_bench(self, words: Sequence[str], loose: bool) -> None:
        if loose and (len(words) < 2 or "..." in words):
            _verb(words[0])  # the name of a command, no more
            return
        choices = [word.strip("[]").split("|") for word in words]
        for chosen in product(*choices):
            self._names(parse([{"NUMBER": "0"}.get(word, word) for word in chosen]))

    def _names(self, asked: dict[str, Any]) -> None:
        """Refuse a name that nothing has; NAME stands for any."""
        known: dict[str, Sequence[str] | set[str]] = {
            "workload": tuple(self.params.workloads),
            "method": {*self.params.methods, *self.new_methods},
            "board": tuple(self.params.boards),
            "data": tuple(data.SOURCES),
        }
        verb = asked.pop("verb")
        if verb == "new-method":
            self.new_methods.add(asked["name"])
            return
        kinds = {"name": "data", "names": "method", "methods": "method"}
        for key, value in asked.items():
            kind = kinds.get(key, key)
            for name in value if isinstance(value, (list, tuple)) else [value]:
                plain = str(name).partition(":")[0].replace("_", "-")
                if kind in known and name not in (None, "NAME") and plain not in {
                    one.replace("_", "-") for one in known[kind]
                }:
                    raise ValueError(f"there is no {kind} '{name}'")
        made = {"FOLDER", *(f"results/{place}" for place in PLACES)}
        for place in (str(asked[key]) for key in ("update", "path") if asked.get(key)):
            if place not in made and not (ROOT / place).exists():
                raise ValueError(f"there is no {place}")
        if verb == "run" and asked["method"] not in self.new_methods:
            self.run_ids.add(run_id(self.params, asked))
        if verb == "export" and asked["run"] != "RUN_ID":
            if not any(one.startswith(asked["run"]) for one in self.run_ids):
                raise ValueError(f"no run above has the id {asked['run']}: {self.run_ids}")

    def make(self, words: Sequence[str], loose: bool) -> None:
        """Parse what the verb would do."""
        for line in _recipe(tuple(words)).splitlines():
            if line.startswith(("dpap-bench ", "dvc ")):
                self._line(shlex.split(line), loose=False)

    def dvc(self, words: Sequence[str], loose: bool) -> None:
        if words[0] != "repro":
            raise ValueError(f"no rule covers 'dvc {words[0]}'; teach tests/documents.py what it is")
        stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
        for word in words[1:]:
            if word not in stages and not (ROOT / word).is_file():
                raise ValueError(f"there is no stage or file '{word}'")

    def python(self, words: Sequence[str], loose: bool) -> None:
        module = words[0] == "-m"
        files = words[2:] if module else words
        if module and importlib.util.find_spec(words[1]) is None:
            raise ValueError(f"there is no module {words[1]}")
        for word in files:
            if "." in word and word != "FILE.npz" and not (ROOT / word).exists():
                raise ValueError(f"there is no {word}")

    def pip(self, words: Sequence[str], loose: bool) -> None:
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        wanted = re.search(r"\.\[(.+)\]", words[-1])
        if words[:4] != ["install", "-c", "constraints.txt", "-e"] or wanted is None:
            raise ValueError("install with: pip install -c constraints.txt -e '.[EXTRA]'")
        if wanted[1] not in extras["optional-dependencies"]:
            raise ValueError(f"there is no extra '{wanted[1]}'")

    def source(self, words: Sequence[str], loose: bool) -> None:
        if words != [".venv/bin/activate"]:
            raise ValueError("only .venv/bin/activate is sourced")

    def pre_commit(self, words: Sequence[str], loose: bool) -> None:
        if words != ["install"] or not (ROOT / ".pre-commit-config.yaml").exists():
            raise ValueError("only 'pre-commit install' is known")


PROGRAMS: dict[str, Callable[[Checker, Sequence[str], bool], None]] = {
    "dpap-bench": Checker.dpap_bench,
    "make": Checker.make,
    "dvc": Checker.dvc,
    "python": Checker.python,
    "pip": Checker.pip,
    "pre-commit": Checker.pre_commit,
    ".": Checker.source,
}


@cache
def _recipe(words: tuple[str, ...]) -> str:
    """What make would run."""
    dry = ["make", "--dry-run", "--old-file=.venv/.installed", *words]
    done = subprocess.run(dry, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(done.stderr.strip())
    return done.stdout


@cache
def verbs() -> dict[str, Any]:
    """All commands of dpap-bench."""
    group: Any = get_command(app)
    return dict(group.commands)


def _verb(name: str) -> Any:
    if name not in verbs():
        raise ValueError(f"dpap-bench has no command '{name}'")
    return verbs()[name]


def parse(words: Sequence[str]) -> dict[str, Any]:
    """Let the command line itself parse what follows ``dpap-bench``; nothing is run.

    Raises
    ------
    ValueError
        With the command line's own sentence.
    """
    try:
        context = _verb(words[0]).make_context(words[0], list(words[1:]))
    except Exception as error:  # of click, which typer may bring under another name
        if not hasattr(error, "format_message"):
            raise
        raise ValueError(error.format_message()) from None
    return {"verb": words[0]} | context.params


def run_id(params: Params, asked: dict[str, Any]) -> str:
    """Name of the cell that ``dpap-bench run`` computes."""
    density = read_density(asked["method"], asked["density"])
    places = (asked[key] for key in ("workload", "method", "granularity"))
    return params.spec(*places, density, asked["seed"], asked["track"]).run_id


def with_block(params: Params, text: str) -> Params:
    """Add the entries of a block to params.yaml."""
    fields = params.model_dump(exclude_defaults=True)
    for key, entries in yaml.safe_load(text).items():
        fields[key] = fields[key] | entries
    return Params.model_validate(fields)


def reason(command: Command, params: Params) -> str:
    """Why a command is not run by the tests, or nothing if it is."""
    if command.marker:
        return command.marker
    if command.kind != "shell":
        standalone = command.kind == "python" and command.page == "README.md"
        return "tests/test_standalone.py runs it, and looks at what it leaves" if standalone else ""
    if command.synopsis:
        return "a synopsis"
    program, *words = command.words
    if program != "dpap-bench":
        return "" if program == "python" and words[0] == "-m" else _OTHERS[program]
    asked = parse(words)
    board, workload = asked.get("board"), asked.get("workload")
    known = isinstance(workload, str) and workload in params.workloads
    wanted = params.workloads[workload].data if known else asked.get("name")
    if words[0] in ("fetch", "show", "run") and wanted not in (None, "digits"):
        return "its data are downloaded"
    if asked.get("device") == "cuda":
        return "needs a GPU"
    if asked.get("everything"):
        return "takes hours: every method"
    if board in params.boards and params.size(board) > FEW:
        return "a board of many cells"
    return ""


_OTHERS = {
    "make": "what it runs is parsed; stages have tests of their own",
    "dvc": "tests/test_dvc.py runs the whole pipeline at a small size",
    "python": "needs a GPU",
    "pip": "needs a package index",
    "pre-commit": "belongs to a clone",
    ".": "the tests are in their environment",
}
