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
from networkx import dfs_preorder_nodes

from pipelines.boards.code_digests import require_code_digests
from pipelines.boards.params import Params
from pipelines.data import SOURCES
from tests.helpers.paths import ROOT
from tests.helpers.projects import write_params

#: Boards whose data sets must be downloaded, by the folder of their stages.
PAPERS = {"paper", "paper-imagenet"}
LONG = {"desk", "images"}
DOWNLOADED = PAPERS | LONG
#: Boards whose records are in git.
PUBLISHED = {"quick"} | LONG


def stages_of(file: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / file).read_text())["stages"]
    return found


STAGES = stages_of("dvc.yaml")
PAPER = stages_of("pipelines/stages/paper/dvc.yaml")
DESK = stages_of("pipelines/stages/desk/dvc.yaml")


@pytest.fixture(scope="module")
def outputs() -> dict[str, set[str]]:
    """Stage -> its outputs, as DVC resolves them."""
    with Repo(ROOT) as repo:
        return {
            stage.addressing.rpartition(":")[2]: {
                Path(out.fs_path).relative_to(ROOT).as_posix() for out in stage.outs
            }
            for stage in repo.index.stages
            if Path(stage.path).parent == ROOT
        }


def test_every_board_without_a_download_has_stages(params: Params) -> None:
    boards = set(params.boards) - DOWNLOADED
    assert set(STAGES["report"]["matrix"]["board"]) == boards
    assert (
        set(STAGES["cells"]["matrix"]["board"])
        == boards - {"embedded", "post-training"} - PUBLISHED
    )
    assert set(PAPER["report"]["matrix"]["board"]) == PAPERS
    assert set(DESK["report"]["matrix"]["board"]) == LONG
    local = set(STAGES["fetch"]["matrix"]["data"])
    for name, board in params.boards.items():
        needed = {params.workloads[workload].data for workload in board.workloads}
        assert (needed <= local) == (name in boards)


def published(params: Params) -> Iterator[tuple[str, set[str], dict[str, Any]]]:
    """Yield board, workloads and content of each stage that computes a published board."""
    for name in sorted(PUBLISHED):
        stage = STAGES[name] if name in STAGES else DESK[name]
        if "do" not in stage:
            yield name, {*params.board(name).workloads}, stage
            continue
        assert set(stage["foreach"]) == {*params.board(name).workloads}
        for workload, item in stage["foreach"].items():
            assert item == {"data": params.workloads[workload].data}
            text = yaml.safe_dump(stage["do"]).replace("${key}", workload)
            yield name, {workload}, yaml.safe_load(text.replace("${item.data}", item["data"]))


def test_a_published_board_depends_on_its_own_settings_only(params: Params) -> None:
    """So a new workload or method elsewhere leaves `dvc status` of a fresh clone clean."""
    stages = list(published(params))
    assert {name for name, _, _ in stages} == PUBLISHED
    for name, workloads, stage in stages:
        require_own_settings(params, name, workloads, stage)


def require_own_settings(
    params: Params, name: str, workloads: set[str], stage: dict[str, Any]
) -> None:
    """Fail unless a stage depends on data and settings of its cells, and keeps them in git."""
    board = params.board(name)
    assert stage["deps"] == [
        f"results/data/{data}.sha256" for data in {params.workloads[one].data for one in workloads}
    ]
    plain = {one for one in stage["params"] if isinstance(one, str)}
    files: dict[str, set[str]] = {}
    for one in stage["params"]:
        files |= {key: set(keys) for key, keys in one.items()} if isinstance(one, dict) else {}
    assert plain == {f"boards.{name}", "compute", "variants"} | {
        f"workloads.{workload}" for workload in workloads
    }
    methods = {method.partition(":")[0] for method in board.methods}
    written = yaml.safe_load((ROOT / "methods.yaml").read_text())
    assert files == {"methods.yaml": methods & written.keys(), "results/code.yaml": {name}}
    for out in stage["outs"]:
        ((path, flags),) = out.items()
        assert flags == {"cache": False, "persist": True}, f"{path} is in git"
    ignored = subprocess.run(
        ["git", "check-ignore", f"results/boards/{name}/records/digits-snn/dense/0.json"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    assert ignored.returncode != 0, ".gitignore leaves the records of a published board out"


def test_the_long_boards_are_computed_only_when_they_are_asked_for() -> None:
    """They take days: neither plain `dvc repro`, nor `make repro`, nor CI may start them."""
    with Repo(ROOT) as repo:
        graph = repo.index.graph
        default = [stage for stage in repo.index.stages if Path(stage.path).parent == ROOT]
        reached = {one for stage in default for one in dfs_preorder_nodes(graph, stage)}
        files = {Path(stage.path).relative_to(ROOT).as_posix() for stage in reached}
    assert files == {"dvc.yaml"}, "a stage of the project's folder needs one of pipelines/stages"
    for path in (".ci/run", *(f".github/workflows/{name}.yml" for name in ("ci", "pages"))):
        text = (ROOT / path).read_text()
        assert "stages" not in text
        assert not LONG & set(re.findall(r"[\w-]+", text)), f"{path} names a long board"
    dry = ["make", "--dry-run", "--old-file=.venv/.installed", "repro"]
    done = subprocess.run(dry, cwd=ROOT, capture_output=True, text=True, check=True)
    assert re.findall(r"dvc repro (.*)", done.stdout) == ["report@quick"]


def test_the_code_digests_in_git_are_those_of_the_code(params: Params) -> None:
    """After a change of the code: dpap-bench digest."""
    require_code_digests(ROOT, params)


def test_all_boards_with_stages_show_their_metrics_and_figures() -> None:
    document = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    for board in STAGES["report"]["matrix"]["board"]:
        assert f"results/boards/{board}/best.json" in document["metrics"]
        assert f"results/boards/{board}/figures" in document["plots"]


def test_the_data_sets_of_stages_exist_and_are_used(params: Params) -> None:
    fetched = {*STAGES["fetch"]["matrix"]["data"], *DESK["fetch"]["matrix"]["data"]}
    assert fetched <= set(SOURCES)
    assert {workload.data for workload in params.workloads.values()} >= fetched


def test_larger_pipelines_run_in_the_project_folder() -> None:
    for stage in (*PAPER.values(), *DESK.values()):
        assert stage.get("do", stage)["wdir"] == "../../.."


def test_an_empty_file_of_locks_is_removed_and_no_other(tmp_path: Path) -> None:
    lock = tmp_path / ".dvc" / "tmp" / "rwlock"
    command = ["make", "--silent", "--file", str(ROOT / "Makefile"), "unlock"]
    subprocess.run(command, cwd=tmp_path, check=True)
    lock.parent.mkdir(parents=True)
    for content in ("{}", ""):
        lock.write_text(content)
        subprocess.run(command, cwd=tmp_path, check=True)
        assert lock.exists() == bool(content)


def covered(file: str, places: set[str]) -> bool:
    """Whether a file is one of the places or in one of them."""
    return any(file == place or file.startswith(f"{place}/") for place in places)


def written(project: Path) -> Iterator[str]:
    """Yield all files of a project."""
    for path in project.rglob("*"):
        if path.is_file():
            yield path.relative_to(project).as_posix()


@pytest.mark.slow
def test_stages_declare_what_they_write(tmp_path: Path, outputs: dict[str, set[str]]) -> None:
    """One command of each kind of stage is run, one after another, in a small project.

    Files with times and what is built from records are no outputs; see the head of dvc.yaml.
    """
    make_project(tmp_path)
    commands = {
        "fetch@digits": "fetch digits --checksums results/data/digits.sha256",
        "baseline@digits-ann-magnitude": "sweep --board embedded --only cells "
        "--workload digits-ann --method magnitude",
        "quick": "sweep --board quick",
        "report@quick": "report --board quick",
        "mlflow": "sync",
    }
    for name, command in commands.items():
        before = {path: (tmp_path / path).stat().st_mtime_ns for path in written(tmp_path)}
        cli(tmp_path, *command.split())
        new = {
            path
            for path in written(tmp_path)
            if before.get(path) != (tmp_path / path).stat().st_mtime_ns
        }
        assert new, f"{name} writes nothing"
        others = {"data", "mlflow.db", "mlruns", "results/local"}
        others |= {f"results/boards/{board}/claims" for board in ("quick", "embedded")}
        if name == "report@quick":
            others |= {f"results/boards/quick/{one}" for one in ("figures", *BUILT)}
        stray = {path for path in new if not covered(path, outputs[name] | others)}
        assert not stray, f"{name} writes {sorted(stray)}, and does not declare them"


#: What a report builds from records.
BUILT = (
    "best.json",
    "best.txt",
    *(f"leaderboard.{ending}" for ending in ("csv", "html", "json", "md", "tex")),
)


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
    ]:
        assert old in text
        text = text.replace(old, new)
    fields = yaml.safe_load(text)
    for name, board in fields["boards"].items():
        if name not in DOWNLOADED:
            board |= {"densities": [0.5], "seeds": [0]}
            board["baselines"] = [method for method in board["baselines"] if method in FEW]
            board["dpap"] = [method for method in board["dpap"] if method.count(":") == 0]
    write_params(project, fields)


def make_project(project: Path) -> None:
    """Make a small project with code of its own and a git repository."""
    for name in ("baselines", "dpap", "pipelines", ".dvc"):
        ignore = shutil.ignore_patterns("__pycache__", "cache", "tmp")
        shutil.copytree(ROOT / name, project / name, ignore=ignore)
    make_small(project)
    cli(project, "digest")
    git(project, "init", "-q")


def execute(project: Path, *command: str) -> str:
    """Run a command with the code of a project, and return its output."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    known = os.environ | {"PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true"}
    done = subprocess.run(
        command,
        cwd=project,
        env=known | {"PYTHONPATH": str(project)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def dvc(project: Path, *arguments: str) -> str:
    """Run DVC in a project and return its output."""
    return execute(project, sys.executable, "-m", "dvc", *arguments)


def cli(project: Path, *arguments: str) -> str:
    """Run dpap-bench in a project, with its own code, and return its output."""
    return execute(project, sys.executable, "-m", "pipelines.cli.main", *arguments)


def git(project: Path, *arguments: str) -> str:
    """Run git in a project and return its output."""
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
    return execute(project, "git", *identity, *arguments)


def ran(output: str) -> set[str]:
    """Return the names of the stages that DVC ran."""
    return set(re.findall(r"Running stage '([^']+)'", output))


@pytest.mark.slow
def test_the_whole_pipeline_at_a_small_size(tmp_path: Path) -> None:
    make_project(tmp_path)
    params, methods = tmp_path / "params.yaml", tmp_path / "methods.yaml"
    boards = tmp_path / "results" / "boards"

    def records(board: str) -> dict[Path, int]:
        found = [(boards / board / name).rglob("*.json") for name in ("records", "controls")]
        return {path: path.stat().st_mtime_ns for paths in found for path in paths}

    stages = ran(dvc(tmp_path, "repro"))
    assert {
        "fetch@digits",
        "baseline@digits-snn-magnitude",
        "dpap@digits-ann-dpap",
    } <= stages
    assert {"matched@digits-snn", "controls@digits-ann", "quick", "mlflow"} <= stages
    assert {f"report@{board}" for board in ("quick", "embedded", "post-training")} <= stages
    for board in ("quick", "embedded", "post-training", "dpap-ablation", "dpap-heirs"):
        for name in ("leaderboard.html", "leaderboard.csv", "best.txt"):
            assert (boards / board / name).exists()
        assert list((boards / board / "figures").glob("digits-snn-*accuracy-density.svg"))
    assert (tmp_path / "mlflow.db").exists()
    pruned = 2 * (3 + 2 * 2) + 2  # magnitude, dpap, dpap-st
    matched = 2 * (2 + 2)  # random and magnitude at two granularities
    # Random pruning and matched runs have no controls.
    unpruned_and_random = 2 * (1 + 3) + 1  # spatio-temporal pruning is for spiking networks only
    assert len(records("embedded")) == unpruned_and_random + pruned + matched + pruned

    shown = json.loads(dvc(tmp_path, "metrics", "show", "--json"))
    best = shown[""]["data"]["results/boards/quick/best.json"]["data"]
    assert best["digits-snn"]["unstructured"]["0.5"]["best"] in {"random", "magnitude"}
    dvc(tmp_path, "plots", "show")
    plots = (tmp_path / "dvc_plots" / "index.html").read_text()
    assert "digits-snn-accuracy-density" in plots
    assert not ran(dvc(tmp_path, "repro")), "a second run does nothing"

    before = {board: records(board) for board in ("quick", "embedded")}
    for place in ("report/charts/accuracy.py", "training/trainer.py"):
        module = tmp_path / "pipelines" / place
        module.write_text(module.read_text() + "# changed\n")
    cli(tmp_path, "digest")
    assert not ran(dvc(tmp_path, "repro")), "a chart or a comment makes no stage run"

    fields = yaml.safe_load(methods.read_text())
    fields["magnitude"]["options"]["p"] = 3 - fields["magnitude"]["options"]["p"]
    fields["magnitude"].pop("tuned", None)  # a tuned value would replace the new one
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

    before = {board: records(board) for board in ("quick", "embedded")}
    fields = yaml.safe_load(params.read_text())
    for board in before:
        fields["boards"][board]["baselines"].append("lamp")
    write_params(tmp_path, fields)
    cli(tmp_path, "digest")  # make repro does this first
    dvc(tmp_path, "repro", "report@quick", "report@embedded")
    for board, old in before.items():
        after = records(board)
        assert {path: after[path] for path in old} == old, "a new row computes that row only"
        folders = {path.parent.name for path in after.keys() - old.keys()}
        more = {"lamp-shuffled", "dpap-matched"} if board == "embedded" else set()
        assert folders == {"lamp"} | more


#: Stages of a board in git, and of one that only the remote has.
TARGETS = ("quick", "report@quick", "post-training", "report@post-training")


@pytest.mark.slow
def test_a_colleague_computes_nothing(tmp_path: Path) -> None:
    """Two clones and one remote: git carries the published board, DVC the other one."""
    first, second, remote = (tmp_path / name for name in ("first", "second", "remote"))
    make_project(first)
    dvc(first, "remote", "add", "--default", "folder", str(remote))
    dvc(first, "repro", *TARGETS)
    git(first, "add", "--all")
    git(first, "commit", "-q", "-m", "Results")
    dvc(first, "push", *TARGETS)
    tracked = git(first, "ls-files", "results").split()
    assert any(name.endswith(".provenance") for name in tracked), "the times are in git"
    assert not any("post-training" in name for name in tracked)

    execute(tmp_path, "git", "clone", "-q", str(first), str(second))
    assert json.loads(dvc(second, "status", "--json", "quick", "report@quick")) == {}
    assert not ran(dvc(second, "repro", "quick", "report@quick"))
    dvc(second, "pull", *TARGETS)
    assert json.loads(dvc(second, "status", "--json", *TARGETS)) == {}
    assert not ran(dvc(second, "repro", *TARGETS))
    for board in ("quick", "post-training"):
        plan = cli(second, "plan", "--board", board, "--missing", "--seconds", "0")
        assert plan == "Nothing is missing: every run has a valid record.\n"
        cli(second, "report", "--board", board)
    boards = second / "results" / "boards"
    assert list((boards / "post-training" / "checkpoints").rglob("*.safetensors"))
    rows = json.loads((boards / "quick" / "leaderboard.json").read_text())["rows"]
    assert all(row["train_seconds"] for row in rows if row["statuses"] == {"ok": 1})


@pytest.mark.slow
def test_two_machines_write_the_same_lock(tmp_path: Path) -> None:
    """Both compute the board, at different times."""
    locks = []
    for name in ("first", "second"):
        make_project(tmp_path / name)
        dvc(tmp_path / name, "repro", "report@quick")
        locks.append((tmp_path / name / "dvc.lock").read_text())
    assert locks[0] == locks[1]
