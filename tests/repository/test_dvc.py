"""dvc.yaml names what each stage depends on; the pipeline runs, stops, and reruns what changed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.boards.params import Params
from pipelines.data import SOURCES
from pipelines.methods.registry import methods, source_files
from tests.helpers.paths import ROOT


def stages_of(file: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / file).read_text())["stages"]
    return found


STAGES, PAPER = stages_of("dvc.yaml"), stages_of("pipelines/stages/paper/dvc.yaml")


def test_methods_lie_where_dvc_looks(params: Params) -> None:
    for board in params.boards.values():
        for name in board.baselines:
            assert source_files(name) == [ROOT / "baselines" / f"{name}.py"]
        for name in {name.partition(":")[0] for name in board.dpap}:
            assert ROOT / "dpap" / "pruner.py" in source_files(name)
        assert {name.partition(":")[0] for name in board.methods} <= set(methods())


def test_the_fetched_data_are_those_of_the_board(params: Params) -> None:
    needed = {params.workloads[w].data for w in params.board("embedded").workloads}
    assert set(STAGES["fetch"]["matrix"]["data"]) == needed <= set(SOURCES)


def test_the_data_of_the_larger_workloads_have_a_pipeline_of_their_own(params: Params) -> None:
    desk = yaml.safe_load((ROOT / "pipelines" / "stages" / "desk" / "dvc.yaml").read_text())[
        "stages"
    ]
    fetched = set(desk["fetch"]["matrix"]["data"])
    assert fetched <= set(SOURCES)
    assert not fetched & set(STAGES["fetch"]["matrix"]["data"])
    assert {w.data for w in params.workloads.values()} >= fetched
    assert desk["fetch"]["wdir"] == "../../.."


def test_pipelines_do_not_reach_into_each_other(params: Params) -> None:
    """A folder as a dependency would make `dvc repro` compute every stage that writes into it."""
    folders = {"results/records", "results/controls", "data"}
    for stages in (STAGES, PAPER):
        for stage in stages.values():
            assert not folders & set(stage["deps"])


@pytest.mark.parametrize(
    ("stage", "name"), [("report", "paper"), ("report-imagenet", "paper-imagenet")]
)
def test_reports_of_the_paper_wait_for_each_of_their_workloads(
    params: Params, stage: str, name: str
) -> None:
    workloads = params.board(name).workloads
    needed = {f"results/{kind}/{w}" for kind in ("records", "controls") for w in workloads}
    read = {d for d in PAPER[stage]["deps"] if d.startswith("results/")}
    assert read == needed | {"results/published.yaml"}
    assert set(workloads) <= set(params.workloads)
    assert all(stage["wdir"] == "../../.." for stage in PAPER.values())


def dvc(project: Path, *arguments: str) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=project,
        env=os.environ | {"PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def ran(output: str) -> set[str]:
    return set(re.findall(r"Running stage '([^']+)'", output))


@pytest.mark.slow
def test_the_whole_pipeline_at_a_small_size(tmp_path: Path) -> None:
    for name in ("baselines", "dpap", "pipelines", ".dvc"):
        ignore = shutil.ignore_patterns("__pycache__", "cache", "tmp")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignore)
    (tmp_path / "results").mkdir()
    for name in ("dvc.yaml", ".dvcignore", ".gitignore", "results/published.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    text = (ROOT / "params.yaml").read_text()
    for old, new in [
        ("16C3-MP2-32C3-MP2-64FC", "6C3-MP2-8C3-MP2-12FC"),
        ("epochs: 15", "epochs: 1"),
        ("[0.5, 0.25, 0.1, 0.05]", "[0.5]"),
        ("[0, 1, 2]", "[0]"),
    ]:
        assert old in text
        text = text.replace(old, new)
    few = ["dense", "random", "magnitude", "admm", "grand"]
    fields = yaml.safe_load(text)
    assert set(few) <= set(fields["boards"]["embedded"]["baselines"])
    fields["boards"]["embedded"]["baselines"] = few
    params = tmp_path / "params.yaml"
    params.write_text(yaml.safe_dump(fields))
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)

    def records() -> dict[Path, int]:
        found = [(tmp_path / "results" / name).rglob("*.json") for name in ("records", "controls")]
        return {path: path.stat().st_mtime_ns for paths in found for path in paths}

    stages = ran(dvc(tmp_path, "repro"))
    assert {"fetch@digits", "baseline@digits-snn-magnitude", "dpap@digits-ann-dpap"} <= stages
    assert {"twins@digits-snn", "controls@digits-ann", "mlflow"} <= stages
    assert {"report-quick", "report-embedded"} <= stages
    for board in ("quick", "embedded"):
        made = tmp_path / "results" / "boards" / board
        for name in ("leaderboard.html", "leaderboard.csv"):
            assert (made / name).exists()
        assert (made / "figures" / "digits-snn-accuracy-density.svg").exists()
    assert (tmp_path / "mlflow.db").exists()
    pruned = 2 * (3 + 2 + 2 + 2 * 2) + 2  # magnitude, admm, grand, dpap, dpap-st
    twins = 2 * (2 + 2 + 1 + 1)  # random, magnitude at two granularities; admm, grand
    # Random pruning is its own control; twins have none.
    assert len(records()) == 2 * (1 + 3) + pruned + twins + pruned

    assert not ran(dvc(tmp_path, "repro")), "a second run does nothing"

    before = records()
    reports = {"report-quick", "report-embedded"}
    figures = tmp_path / "pipelines" / "report" / "figures.py"
    figures.write_text(figures.read_text() + "# changed\n")
    assert ran(dvc(tmp_path, "repro")) == reports, "a changed plot retrains nothing"
    assert records() == before

    fields["methods"]["magnitude"]["p"] = 3 - fields["methods"]["magnitude"]["p"]
    params.write_text(yaml.safe_dump(fields))
    assert ran(dvc(tmp_path, "repro")) == {
        *reports,
        "baseline@digits-snn-magnitude",
        "baseline@digits-ann-magnitude",
        "twins@digits-snn",
        "twins@digits-ann",
        "controls@digits-snn",
        "controls@digits-ann",
        "mlflow",
    }
    after = records()
    again = [path for path, time in before.items() if after[path] != time]
    assert not again, "no other cell is computed"
    assert {path.parent.name for path in after.keys() - before.keys()} == {
        "magnitude",
        "magnitude-shuffled",
        "dpap-twins",
    }
