"""Every command of the documents parses. Commands that no rule exempts are run, page by page."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.boards.hyperparameters import read_entries
from pipelines.boards.params import Params, load_params
from tests.helpers import command_rules, documents
from tests.helpers.command_rules import Checker
from tests.helpers.documents import Command
from tests.helpers.paths import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PAGES = [page for page in documents.pages() if documents.commands(page)]
#: Commands that end at once.
QUICK = ("list", "fetch", "new-method")
#: Replacements in the copy of params.yaml that make runs and boards short.
SHORT = {
    "epochs: 15": "epochs: 1",
    "data: fashion-tuning": "data: digits",
    "epochs: 3\n": "epochs: 1\n",
    "epochs: 6\n": "epochs: 1\n",
    "settings: 10": "settings: 2",
    "rungs: [2, 5, 8]": "rungs: [1]",
    "[100, 101, 102, 103, 104, 105, 106, 107]": "[100]",
    "[200, 201, 202, 203, 204, 205, 206, 207, 208, 209]": "[200, 201]",
    "[0.5, 0.25, 0.1, 0.05]": "[0.25]",
    "[0, 1, 2]": "[0]",
    f"{[*range(20)]}": "[0]",
}


def shortened(text: str) -> str:
    """Apply `SHORT` to the text of params.yaml."""
    for old, new in SHORT.items():
        text = text.replace(old, new)
    return text


@pytest.mark.parametrize("page", PAGES)
def test_every_command_parses(page: str, params: Params) -> None:
    checker = Checker(params)
    faults = [checker.fault(command) for command in documents.commands(page)]
    assert not any(faults), "\n".join(filter(None, faults))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "```console\ncurl example.org\n```",
            "no rule covers 'curl'; teach tests/helpers/command_rules.py",
        ),
        ("```bash\ndpap-bench ruin --all\n```", "dpap-bench has no command 'ruin'"),
        ("`dpap-bench ruin`", "dpap-bench has no command 'ruin'"),
        ("| `dpap-bench list [methods\\|planets]` |\n|---|", "'planets' is not one of"),
        ("`dpap-bench list`, `dpap-bench run ... `", ""),
        ("`dpap-bench fetch --quick NAME`", "No such option: --quick"),
        ("`dpap-bench fetch atlantis`", "there is no data set 'atlantis'"),
        ("`dpap-bench check NAME`, `dpap-bench check grad-r grand`", ""),
        ("`dpap-bench check grant`", "there is no method 'grant'"),
        ("`dpap-bench sweep --board grand`", "there is no board 'grand'"),
        ("`dpap-bench verify results/lost`", "there is no results/lost"),
        ("`dpap-bench run --workload digits-snn`", "Missing option '--method'"),
        ("`dpap-bench run --workload digits-snn --method grand`", "needs --density"),
        ("`dpap-bench run --workload moon --method dense`", "there is no workload 'moon'"),
        ("`dpap-bench run --workload digits-ann --method dpap-st --density 0.1`", "needs spikes"),
        ("`dpap-bench export 01234567`", "no run above has the id 01234567"),
        ("`make magic`", "No rule to make target 'magic'"),
        ("`make repro BOARD=grand`", "there is no stage or file 'report@grand'"),
        ("`python -m dpap.conformity`", "there is no module dpap.conformity"),
        ("`python tests/perf/tpu.py`", "there is no tests/perf/tpu.py"),
        ("`dvc repro baselines`", "there is no stage or file 'baselines'"),
        ("`pip install -c constraints.txt -e '.[moon]'`", "there is no extra 'moon'"),
        ("`pip install dpap`", "install with: pip install -c constraints.txt"),
        ("```python\nfor\n```", "invalid syntax"),
        ("```yaml\n# params.yaml\nworkloads:\n  new: {data: digits}\n```", "network"),
    ],
)
def test_a_fault_of_a_command_is_described(text: str, sentence: str, params: Params) -> None:
    checker = Checker(params)
    found = " ".join(map(checker.fault, documents.find("page.md", text)))
    assert sentence in found
    assert bool(sentence) == bool(found.strip())


def test_commands_are_found_in_inline_code_and_in_code_blocks() -> None:
    text = (
        "Say `dpap-bench list`, not `dvc.yaml`.\n\n<!-- not run in tests: because -->\n"
        "```console\nmake repro # all of it\n\n# nothing\n```\n\n```text\nls\n```\n"
        "```python\n1 + 1\n```\n"
    )
    found = list(documents.find("page.md", text))
    assert [(one.line, one.words, one.marker) for one in found[:2]] == [
        (1, ["dpap-bench", "list"], ""),
        (5, ["make", "repro"], "because"),
    ]
    assert [one.kind for one in found] == ["shell", "shell", "python"]
    assert found[2].marker == ""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("dpap-bench run --workload fashion-snn --method dense", "its data are downloaded"),
        ("dpap-bench show mnist 3", "its data are downloaded"),
        ("dpap-bench run --workload digits-snn --method dense --device cuda", "needs a GPU"),
        ("dpap-bench sync --take-over 0123456789ab", "needs runs of another clone"),
        ("dpap-bench tune --all", "takes hours: every method"),
        ("dpap-bench report --board embedded", "a board of many cells"),
        ("dpap-bench run --workload digits-snn --method dense", ""),
    ],
)
def test_rules_say_which_commands_are_not_run(text: str, why: str, params: Params) -> None:
    assert command_rules.reason(Command("page.md", 1, "shell", text), params) == why


@dataclass
class Scratch:
    """A copy of the project with short runs, in which each command is run once.

    `run_ids` maps run ids in the documents to run ids in the copy.
    """

    folder: Path
    params: Params
    outputs: dict[str, str] = field(default_factory=dict)
    run_ids: dict[str, str] = field(default_factory=dict)

    def run(self, command: Command) -> str:
        """Run a command unless an earlier page has run it; return its output."""
        if command.text not in self.outputs:
            self.outputs[command.text] = self._run(command)
        return self.outputs[command.text]

    def _run(self, command: Command) -> str:
        if command.kind == "params":
            self._write_params(shortened(command.text))
            return ""
        text = re.sub(r"\b[0-9a-f]{8,16}\b", self._run_id, command.text)
        if text.startswith("dpap-bench run "):
            asked, published = command_rules.parse(command.words[1:]), load_params(ROOT)
            if asked["method"] in published.methods and asked["workload"] in published.workloads:
                here = command_rules.run_id(self.params, asked)
                self.run_ids[command_rules.run_id(published, asked)] = here
        python = [sys.executable, "-c", text]
        done = subprocess.run(
            python if command.kind == "python" else ["bash", "-c", text],
            cwd=self.folder,
            env=os.environ
            | {"PYTHONPATH": str(self.folder), "OMP_NUM_THREADS": "1", "DO_NOT_TRACK": "true"}
            | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def _run_id(self, found: re.Match[str]) -> str:
        names = (here for known, here in self.run_ids.items() if known.startswith(found[0]))
        return next(names, found[0])

    def _write_params(self, text: str) -> None:
        """Insert the entries of a YAML block into params.yaml, below their keys."""
        path = self.folder / "params.yaml"
        whole = path.read_text()
        for key, lines in re.findall(r"^(\w+:\n)((?:  .*\n)+)", text, re.MULTILINE):
            assert f"\n{key}" in whole
            whole = whole.replace(f"\n{key}", f"\n{key}{lines}", 1)
        path.write_text(whole)
        self.params = load_params(self.folder)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    """A copy of all files that git does not ignore, with short runs and a small quick board."""
    folder = tmp_path_factory.mktemp("project")
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    shutil.rmtree(folder / "results" / "boards", ignore_errors=True)  # of longer runs
    text = (folder / "params.yaml").read_text()
    assert all(old in text for old in SHORT)
    (folder / "params.yaml").write_text(shortened(text))
    return Scratch(folder, load_params(folder))


def runnable(page: str, scratch: Scratch) -> Iterator[Command]:
    """Yield the commands of a page that no rule exempts, given what earlier commands wrote."""
    for command in documents.commands(page):
        if not command_rules.reason(command, scratch.params):
            yield command


def test_every_verb_is_run_on_some_page(scratch: Scratch) -> None:
    run = {command.text for page in PAGES for command in runnable(page, scratch)}
    verbs = {text.split()[1] for text in run if text.startswith("dpap-bench ")}
    assert verbs == set(command_rules.verbs())


def test_the_table_of_commands_has_every_verb() -> None:
    listed = {one.words[1] for one in documents.commands("docs/commands.md") if one.text[0] == "d"}
    assert listed - command_rules.options() == set(command_rules.verbs())


def steps(workflow: Path) -> Iterator[dict[str, Any]]:
    for job in yaml.safe_load(workflow.read_text())["jobs"].values():
        yield from job["steps"]


def commands_of(workflow: Path) -> Iterator[Command]:
    """Yield the commands of a workflow, as a user would type them."""
    for step in steps(workflow):
        for line in step.get("run", "").splitlines():
            yield Command(workflow.name, 0, "shell", line.removeprefix(".venv/bin/"))


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda file: file.stem)
def test_the_commands_of_workflows_exist(workflow: Path, params: Params) -> None:
    for step in steps(workflow):
        pinned = re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", step.get("uses", ""))
        assert ("run" in step) != bool(pinned), f"{workflow.name}: {step}"
    checker = Checker(params)
    for command in commands_of(workflow):
        if command.text == ".ci/run":
            assert os.access(ROOT / command.text, os.X_OK)
        else:
            assert not (fault := checker.fault(command)), fault


@pytest.mark.slow
def test_the_workflow_pages_makes_a_site(scratch: Scratch) -> None:
    first, *others = commands_of(ROOT / ".github" / "workflows" / "pages.yml")
    assert first.text == "make repro"
    scratch.run(replace(first, text="dpap-bench sweep --board quick"))
    for command in others:
        scratch.run(command)
    assert (scratch.folder / "site" / "quick" / "leaderboard.html").exists()


@pytest.mark.slow
def test_quick_commands_run(scratch: Scratch) -> None:
    quick = [
        command
        for page in PAGES
        for command in runnable(page, scratch)
        if command.words[:1] == ["dpap-bench"] and command.words[1] in QUICK
    ]
    assert {command.words[1] for command in quick} == set(QUICK)
    for command in quick:
        scratch.run(command)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_run(page: str, scratch: Scratch) -> None:
    for command in runnable(page, scratch):
        scratch.run(command)


@pytest.mark.slow
def test_the_commands_of_contributing_add_a_method(scratch: Scratch) -> None:
    for command in runnable("CONTRIBUTING.md", scratch):
        scratch.run(command)
    assert (scratch.folder / "baselines" / "growth.py").exists()
    found = scratch.outputs
    assert "dpap-bench check growth" in found["dpap-bench new-method growth"]
    listed = "growth (structured, unstructured, hybrid)"
    assert found["dpap-bench check growth"] == f"ok     {listed}\n"
    run = found["dpap-bench run --workload digits-snn --method growth --density 0.25"]
    assert "digits-snn growth structured density 0.25" in run
    assert found["dpap-bench tune growth"].startswith("growth structured snn: the default ")
    entries = read_entries(scratch.folder)
    assert entries["growth"].space
