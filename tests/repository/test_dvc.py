"""DVC: stages declare their true dependencies and outputs, and a change reruns its stages."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.repo import Repo

from pipelines.boards.params import Params
from pipelines.data import SOURCES
from pipelines.records.digest import kind_of, parts_of
from tests.helpers.paths import ROOT
from tests.helpers.projects import write_params

#: Packages that start computations and show progress; no output of a stage depends on them.
STARTERS = ("pipelines/cli", "pipelines/engines", "pipelines/boards")
#: Boards whose data sets must be downloaded.
DOWNLOADED = {"paper", "paper-imagenet"}


def stages_of(file: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / file).read_text())["stages"]
    return found


STAGES = stages_of("dvc.yaml")
PAPER = stages_of("pipelines/stages/paper/dvc.yaml")
DESK = stages_of("pipelines/stages/desk/dvc.yaml")


@pytest.fixture(scope="module")
def resolved() -> dict[str, dict[str, set[str]]]:
    """Stage -> its dependencies and outputs, as DVC resolves them."""
    with Repo(ROOT) as repo:
        return {
            stage.addressing.rpartition(":")[2]: {
                "deps": {dep.def_path for dep in stage.deps if dep.def_path.count(".yaml") == 0},
                "outs": {Path(out.fs_path).relative_to(ROOT).as_posix() for out in stage.outs},
            }
            for stage in repo.index.stages
            if Path(stage.path).parent == ROOT
        }


def test_every_board_without_a_download_has_stages(params: Params) -> None:
    boards = set(params.boards) - DOWNLOADED
    assert set(STAGES["report"]["matrix"]["board"]) == boards
    assert set(STAGES["cells"]["matrix"]["board"]) == boards - {"embedded"}
    assert set(PAPER["report"]["matrix"]["board"]) == DOWNLOADED
    local = set(STAGES["fetch"]["matrix"]["data"])
    for name, board in params.boards.items():
        needed = {params.workloads[workload].data for workload in board.workloads}
        assert (needed <= local) == (name in boards)


def test_the_data_sets_of_stages_exist_and_are_used(params: Params) -> None:
    fetched = {*STAGES["fetch"]["matrix"]["data"], *DESK["fetch"]["matrix"]["data"]}
    assert fetched <= set(SOURCES)
    assert {workload.data for workload in params.workloads.values()} >= fetched


def test_larger_pipelines_run_in_the_project_folder() -> None:
    for stage in (*PAPER.values(), *DESK.values()):
        assert stage["wdir"] == "../../.."


def test_the_code_stage_depends_on_all_that_a_digest_covers(params: Params) -> None:
    cells = [cell for board in params.boards for cell in params.cells(board, admit=False)]
    files = {name for kind in set(map(kind_of, cells)) for name in parts_of(kind)}
    deps = set(STAGES["code"]["deps"])
    assert not [name for name in files if not covered(name, deps)]
    assert all(any(name.startswith(f"{dep}/") for name in files) for dep in deps)


def traced(project: Path, *arguments: str) -> set[str]:
    """Run a command and return the modules of this repository that it imports, as paths."""
    code = (
        "import sys\n"
        "from pipelines.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "files = {getattr(m, '__file__', None) for m in list(sys.modules.values())}\n"
        "print(*sorted(f for f in files if f), sep='\\n')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(ROOT), "MLFLOW_DISABLE_TELEMETRY": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ours = (Path(line) for line in done.stdout.splitlines() if line.startswith(str(ROOT)))
    files = {file.relative_to(ROOT).as_posix() for file in ours if file.is_relative_to(ROOT)}
    return {f for f in files if f.split("/")[0] in {"baselines", "dpap", "pipelines"}}


def covered(file: str, deps: set[str]) -> bool:
    """Whether a file is a dependency or in one; an `__init__.py` needs none."""
    return file.endswith("__init__.py") or any(
        file == dep or file.startswith(f"{dep}/") for dep in deps
    )


def written(project: Path) -> Iterator[str]:
    """Yield all files of a project."""
    for path in project.rglob("*"):
        if path.is_file():
            yield path.relative_to(project).as_posix()


@pytest.mark.slow
def test_stages_depend_on_what_their_commands_import_and_declare_what_they_write(
    tmp_path: Path, resolved: dict[str, dict[str, set[str]]]
) -> None:
    """One command of each kind of stage is run, one after another, in a small project."""
    make_small(tmp_path)
    commands = {
        "fetch@digits": "fetch digits",
        "code": "digest",
        "baseline@digits-ann-magnitude": "sweep --board embedded --only cells "
        "--workload digits-ann --method magnitude",
        "cells@quick": "sweep --board quick",
        "report@quick": "report --board quick",
        "mlflow": "sync",
    }
    for name, command in commands.items():
        before = {path: (tmp_path / path).stat().st_mtime_ns for path in written(tmp_path)}
        files = traced(tmp_path, *command.split(), *_serial(command))
        deps = resolved[name]["deps"]
        if any(dep.startswith("results/code") for dep in deps):
            deps = deps | resolved["code"]["deps"]  # the stage that writes results/code
        if name == "mlflow":  # it reads records, settings and methods, as a report does
            deps = deps | resolved["report@quick"]["deps"]
        lost = {f for f in files if not covered(f, deps | set(STARTERS))}
        assert not lost, f"{name} imports {sorted(lost)}, and does not depend on them"
        new = {
            path
            for path in written(tmp_path)
            if before.get(path) != (tmp_path / path).stat().st_mtime_ns
        }
        outs = resolved[name]["outs"] | {"mlflow.db", "mlruns", "results/local"}
        stray = {path for path in new if not covered(path, outs)}
        assert not stray, f"{name} writes {sorted(stray)}, and does not declare them"


def _serial(command: str) -> tuple[str, ...]:
    """Return options that keep a sweep in one process, so that its imports are traced."""
    return ("--engine", "serial") if command.startswith("sweep") else ()


#: Baselines of the small project.
FEW = ("dense", "random", "magnitude")


def make_small(project: Path) -> None:
    """Write the files of a small project: tiny networks, one epoch, one seed, few methods."""
    (project / "results").mkdir()
    for name in ("dvc.yaml", ".dvcignore", ".gitignore", "methods.yaml", "results/published.yaml"):
        shutil.copy(ROOT / name, project / name)
    text = (ROOT / "params.yaml").read_text()
    for old, new in [
        ("16C3-MP2-32C3-MP2-64FC", "6C3-MP2-8C3-MP2-12FC"),
        ("epochs: 15", "epochs: 1"),
        ("epochs: 8", "epochs: 1"),
        ("[0.5, 0.25, 0.1, 0.05]", "[0.5]"),
        ("[0.25, 0.1]", "[0.5]"),
        ("[0.25, 0.1, 0.05]", "[0.5]"),
        ("[0, 1, 2]", "[0]"),
        ("[0, 1, 2, 3, 4, 5, 6, 7]", "[0]"),
    ]:
        assert old in text
        text = text.replace(old, new)
    fields = yaml.safe_load(text)
    for name, board in fields["boards"].items():
        if name not in DOWNLOADED:
            board["baselines"] = [method for method in board["baselines"] if method in FEW]
            board["dpap"] = [method for method in board["dpap"] if method.count(":") == 0]
    write_params(project, fields)


def dvc(project: Path, *arguments: str) -> str:
    """Run DVC in a project and return its output."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    known = os.environ | {"PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true"}
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=project,
        env=known | {"PYTHONPATH": str(project)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def ran(output: str) -> set[str]:
    """Return the names of the stages that DVC ran."""
    return set(re.findall(r"Running stage '([^']+)'", output))


@pytest.mark.slow
def test_the_whole_pipeline_at_a_small_size(tmp_path: Path) -> None:
    for name in ("baselines", "dpap", "pipelines", ".dvc"):
        ignore = shutil.ignore_patterns("__pycache__", "cache", "tmp")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignore)
    make_small(tmp_path)
    params, methods = tmp_path / "params.yaml", tmp_path / "methods.yaml"
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    boards = tmp_path / "results" / "boards"

    def records(board: str) -> dict[Path, int]:
        found = [(boards / board / name).rglob("*.json") for name in ("records", "controls")]
        return {path: path.stat().st_mtime_ns for paths in found for path in paths}

    stages = ran(dvc(tmp_path, "repro"))
    assert {
        "fetch@digits",
        "code",
        "baseline@digits-snn-magnitude",
        "dpap@digits-ann-dpap",
    } <= stages
    assert {"matched@digits-snn", "controls@digits-ann", "cells@quick", "mlflow"} <= stages
    assert {f"report@{board}" for board in ("quick", "embedded", "post-training")} <= stages
    for board in ("quick", "embedded", "post-training", "dpap-ablation", "dpap-heirs"):
        for name in ("leaderboard.html", "leaderboard.csv", "best.txt"):
            assert (boards / board / name).exists()
        assert list((boards / board / "figures").glob("digits-snn-*accuracy-density.svg"))
    assert (tmp_path / "mlflow.db").exists()
    pruned = 2 * (3 + 2 * 2) + 2  # magnitude, dpap, dpap-st
    matched = 2 * (2 + 2)  # random and magnitude at two granularities
    # Random pruning and matched runs have no controls.
    assert len(records("embedded")) == 2 * (1 + 3) + pruned + matched + pruned

    shown = json.loads(dvc(tmp_path, "metrics", "show", "--json"))
    best = shown[""]["data"]["results/boards/quick/best.json"]["data"]
    assert best["digits-snn"]["unstructured"]["0.5"]["best"] in {"random", "magnitude"}
    dvc(tmp_path, "plots", "show")
    plots = (tmp_path / "dvc_plots" / "index.html").read_text()
    assert "digits-snn-accuracy-density" in plots
    assert not ran(dvc(tmp_path, "repro")), "a second run does nothing"

    before = {board: records(board) for board in ("quick", "embedded")}
    reports = {f"report@{board}" for board in STAGES["report"]["matrix"]["board"]}
    chart = tmp_path / "pipelines" / "report" / "charts" / "accuracy.py"
    chart.write_text(chart.read_text() + "# changed\n")
    assert ran(dvc(tmp_path, "repro")) == reports | {"mlflow"}, "a changed chart trains nothing"
    assert {board: records(board) for board in before} == before

    fields = yaml.safe_load(methods.read_text())
    fields["magnitude"]["options"]["p"] = 3 - fields["magnitude"]["options"]["p"]
    methods.write_text(yaml.safe_dump(fields))
    changed = ran(dvc(tmp_path, "repro"))
    assert {name for name in changed if name.startswith(("baseline", "dpap"))} == {
        "baseline@digits-snn-magnitude",
        "baseline@digits-ann-magnitude",
    }
    for board, old in before.items():
        after = records(board)
        again = [path for path, time in old.items() if after[path] != time]
        assert not again, "no other cell is computed"
        folders = {path.parent.name for path in after.keys() - old.keys()}
        more = {"magnitude-shuffled", "dpap-matched"} if board == "embedded" else set()
        assert folders == {"magnitude"} | more
    assert params.exists()
