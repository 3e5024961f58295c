"""Rules for the commands of documents: how each is parsed, and which are not run by tests."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import tomllib
from collections.abc import Callable, Sequence
from functools import cache
from itertools import product
from typing import Any

import yaml
from typer.main import get_command

from pipelines import data
from pipelines.boards.params import Params, read_density
from pipelines.cli.main import app
from pipelines.common.errors import BenchError
from pipelines.export.rerun import RECORD_FOLDERS
from pipelines.methods.catalogue import canonical, infos
from pipelines.settings.spec import SYNOPS
from tests.helpers.documents import Command
from tests.helpers.paths import ROOT

#: Tests run commands on boards of at most this many cells.
MAX_CELLS = 30
_ADD_RULE = "teach tests/helpers/command_rules.py what it does, or show another command"


class Checker:
    """Parses the commands of one page, in order, and remembers what earlier commands create."""

    def __init__(self, params: Params) -> None:
        self.params = params
        self.new_methods: set[str] = set()
        self.run_ids: set[str] = set()
        self.made = {"FOLDER", "FILE", *(f"results/{place}" for place in RECORD_FOLDERS)}

    def fault(self, command: Command) -> str:
        """Return a sentence that says what is wrong with a command; empty if nothing is."""
        try:
            if command.kind == "params":
                self.params = with_block(self.params, command.text)
            elif command.kind == "python":
                compile(command.text, command.page, "exec")
            elif command.marker and command.words[0] not in _NAMED:
                _shell(command.text)
            else:
                self._line(command.words, loose=command.inline)
        except (BenchError, ValueError, SyntaxError) as error:
            return f"{command}: {error}"
        return ""

    def _line(self, words: Sequence[str], loose: bool) -> None:
        if words[0] not in _PARSERS:
            raise ValueError(f"no rule covers '{words[0]}'; {_ADD_RULE}")
        _PARSERS[words[0]](self, words[1:], loose)

    def dpap_bench(self, words: Sequence[str], loose: bool) -> None:
        if len(words) == 1 and words[0] in options():
            return
        if loose and (len(words) < 2 or "..." in words):
            _verb(words[0])  # the name of a command alone
            return
        choices = [word.strip("[]").split("|") for word in words]
        for chosen in product(*choices):
            asked = parse(["0" if word == "NUMBER" else word for word in chosen])
            self._names(asked)
            self._cells(asked)

    def _names(self, asked: dict[str, Any]) -> None:
        """Refuse names and folders that do not exist; NAME and FOLDER stand for any."""
        if asked["verb"] == "new-method":
            self.new_methods.add(asked["name"])
            return
        methods = {*self.params.methods, *self.new_methods}
        for kind, keys, known in (
            ("workload", ("workload",), set(self.params.workloads)),
            ("method", ("method", "methods", "names"), {canonical(method) for method in methods}),
            ("board", ("board",), set(self.params.boards)),
            ("data set", ("name",), set(data.SOURCES)),
        ):
            names = [name for key in keys for name in _listed(asked.get(key))]
            for name in names:
                plain = canonical(name.partition(":")[0]) if kind == "method" else name
                if plain not in known | {"NAME"}:
                    raise ValueError(f"there is no {kind} '{name}'")
        for key in ("update", "path"):
            if not asked.get(key):
                continue
            path = str(asked[key])
            if path not in self.made and not (ROOT / path).exists():
                raise ValueError(f"there is no {path}")
        if asked["verb"] == "submit":
            self.made.add(str(asked["to"]))

    def _cells(self, asked: dict[str, Any]) -> None:
        """Refuse cells that cannot be run, and run ids that no earlier command computes."""
        if asked["verb"] == "run" and asked["method"] not in self.new_methods:
            self.run_ids.add(run_id(self.params, asked))
        ids = [*self.run_ids, "RUN_ID"]
        if asked["verb"] in ("export", "explain") and not any(
            known.startswith(asked["run"]) for known in ids
        ):
            raise ValueError(f"no run above has the id {asked['run']}: {ids}")

    def make(self, words: Sequence[str], loose: bool) -> None:
        """Parse the commands that ``make`` would run."""
        for line in _recipe(tuple(words)).splitlines():
            if line.startswith(("dpap-bench ", "dvc ")):
                self._line(shlex.split(line), loose=False)

    def dvc(self, words: Sequence[str], loose: bool) -> None:
        if words[0] not in ("repro", "status", "push", "pull"):
            raise ValueError(f"no rule covers 'dvc {words[0]}'; {_ADD_RULE}")
        for word in words[1:]:
            file, _, stage = word.rpartition(":")
            if not (ROOT / word).is_file() and stage not in self._stages(file or "dvc.yaml"):
                raise ValueError(f"there is no stage or file '{word}'")

    def _stages(self, file: str) -> set[str]:
        """Names of the stages of a pipeline file, with and without ``@WORKLOAD`` or ``@BOARD``."""
        stages = yaml.safe_load((ROOT / file).read_text())["stages"]
        names = {*stages}
        for name, stage in stages.items():
            parts = stage.get("matrix", {}).get("board", self.params.workloads)
            names.update(f"{name}@{part}" for part in parts)
        return names

    def python(self, words: Sequence[str], loose: bool) -> None:
        if words[0] == "-c":
            compile(words[1], "-c", "exec")
            return
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

    def copy(self, words: Sequence[str], loose: bool) -> None:
        if not words[-1].startswith("build"):
            raise ValueError("copies belong into build")

    def pre_commit(self, words: Sequence[str], loose: bool) -> None:
        if words != ["install"] or not (ROOT / ".pre-commit-config.yaml").exists():
            raise ValueError("only 'pre-commit install' is known")


_PARSERS: dict[str, Callable[[Checker, Sequence[str], bool], None]] = {
    "dpap-bench": Checker.dpap_bench,
    "make": Checker.make,
    "dvc": Checker.dvc,
    "python": Checker.python,
    "pip": Checker.pip,
    "pre-commit": Checker.pre_commit,
    "cp": Checker.copy,
    "mkdir": Checker.copy,
    ".": Checker.source,
}


#: Programs whose commands are parsed even where they are not run: they name things of this project.
_NAMED = ("dpap-bench", "make", "python", "pip")


def _shell(text: str) -> None:
    """Let bash parse a command that is marked as not run, and that no rule covers."""
    done = subprocess.run(["bash", "-n", "-c", text], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(done.stderr.strip())


def _listed(value: Any) -> list[str]:
    """The values of an option that may be given several times, once, or not at all."""
    if isinstance(value, (list, tuple)):
        return list(value)
    return [value] if value else []


@cache
def _recipe(words: tuple[str, ...]) -> str:
    """The output of a dry run of ``make``: the commands that it would run."""
    dry = ["make", "--dry-run", "--old-file=.venv/.installed", *words]
    done = subprocess.run(dry, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(done.stderr.strip())
    return done.stdout


@cache
def verbs() -> dict[str, Any]:
    """Name -> command of dpap-bench."""
    return dict(_group().commands)


def options() -> set[str]:
    """Options of dpap-bench itself, such as --version."""
    return {option for one in _group().params for option in one.opts}


def _group() -> Any:
    return get_command(app)


def _verb(name: str) -> Any:
    if name not in verbs():
        raise ValueError(f"dpap-bench has no command '{name}'")
    return verbs()[name]


def parse(words: Sequence[str]) -> dict[str, Any]:
    """Parse the words after ``dpap-bench`` by the command line itself; nothing is run.

    Raises
    ------
    ValueError
        If the command line refuses them; the message is that of the command line.
    """
    try:
        context = _verb(words[0]).make_context(words[0], list(words[1:]))
    except Exception as error:  # click's; typer may bring its own copy of click
        if not hasattr(error, "format_message"):
            raise
        raise ValueError(error.format_message()) from None
    return {"verb": words[0]} | context.params


def run_id(params: Params, asked: dict[str, Any]) -> str:
    """Run id of the cell that a ``dpap-bench run`` computes."""
    synops, given = asked.get("synops"), asked["density"]
    density = read_density(asked["method"], given) if synops is None or given else SYNOPS
    spec = params.spec(
        asked["workload"],
        asked["method"],
        asked["granularity"],
        density,
        asked["seed"],
        asked["track"],
        synops,
    )
    return spec.run_id


def with_block(params: Params, text: str) -> Params:
    """Return params.yaml with the entries of a block added."""
    fields = params.model_dump(exclude_defaults=True)
    for key, entries in yaml.safe_load(text).items():
        fields[key] = fields[key] | entries
    return Params.model_validate(fields)


def reason(command: Command, params: Params) -> str:
    """Return why tests do not run a command; empty if they run it."""
    if command.marker:
        return command.marker
    if command.kind == "python" and command.page == "docs/loop.md":
        return "tests of dpap/attachment and dpap/export run it, and look at what it leaves"
    if command.kind != "shell":
        return ""
    if command.synopsis:
        return "a synopsis"
    if command.page == "CHANGELOG.md":
        return "it tells of changes; another page shows how to use the command"
    program, *words = command.words
    if program in ("cp", "mkdir") or (program == "python" and words[0] in ("-m", "-c")):
        return ""
    if program != "dpap-bench":
        return _OTHERS[program]
    return _reason_of_dpap_bench(words, params)


def _reason_of_dpap_bench(words: Sequence[str], params: Params) -> str:
    """Return why tests do not run a command of dpap-bench; empty if they run it."""
    asked = parse(words)
    boards, workload = _listed(asked.get("board")), asked.get("workload")
    known = isinstance(workload, str) and workload in params.workloads
    data_set = params.workloads[workload].data if known else asked.get("name")
    if words[0] in ("fetch", "show", "run") and data_set not in (None, "digits", "digits-dvs"):
        return "its data are downloaded"
    if asked.get("device") == "cuda":
        return "needs a GPU"
    if asked.get("take_over"):
        return "needs runs of another clone"
    if asked.get("accept") or asked.get("add_environment"):
        return "changes what was accepted"
    if words[0] == "canaries" and not asked.get("method"):
        return "takes minutes: all canaries"
    if asked.get("everything"):
        return "takes hours: every method"
    if any(_size(params, board) > MAX_CELLS for board in boards if board in params.boards):
        return "a board of many cells"
    return ""


def _size(params: Params, board: str) -> int:
    """Cells of a board, without those of methods that the page makes."""
    grid, known_names = params.boards[board], infos()
    baselines = [n for n in grid.baselines if canonical(n.partition(":")[0]) in known_names]
    known = grid.model_copy(update={"baselines": tuple(baselines)})
    return sum(1 for _ in known.places(params.workloads))


#: Program -> why tests do not run it.
_OTHERS = {
    "make": "the commands that it runs are parsed; stages have tests of their own",
    "dvc": "tests/repository/test_dvc.py runs the whole pipeline at a small size",
    "python": "needs a GPU",
    "pip": "needs a package index",
    "pre-commit": "belongs to a clone",
    ".": "the tests already run in an environment",
}
