"""The command line: `main` is called in a project's folder, as a user calls it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.boards.params import load_params
from pipelines.cli.main import main
from pipelines.common.files import sha256
from pipelines.engines.claims import Claims
from pipelines.records.files import read_record
from pipelines.records.store import board_store
from tests.helpers.handmade import fill
from tests.helpers.paths import ROOT


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run a command and return its exit status."""
    monkeypatch.setattr(sys, "argv", ["dpap-bench", *arguments])
    try:
        main()
    except SystemExit as exit_:
        return int(exit_.code or 0)
    return 0


def test_the_version_is_that_of_the_citation(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert call(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"dpap-bench {citation['version']}\n"


def test_the_list_of_commands_cuts_no_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "--help") == 0
    commands = capsys.readouterr().out.partition("Commands:")[2]
    assert "sweep" in commands
    assert "..." not in commands, "shorten the first line of the docstring of this command"


def smaller(text: str) -> str:
    """Change the text of params.yaml: a small quick board and tiny networks."""
    for old, new in [
        ("16C3-MP2-32C3-MP2-64FC", "6C3-MP2-8C3-MP2-12FC"),
        ("epochs: 15", "epochs: 1"),
        ("[digits-snn, digits-ann]", "[digits-ann]"),
        ("[0.5, 0.25, 0.1, 0.05]", "[0.5]"),
        (
            "[digits-snn]\n    baselines: [dense, random, magnitude, lamp, admm]",
            "[digits-ann]\n    baselines: [dense, random, magnitude]",
        ),
        (f"[0.1]\n    seeds: {[*range(20)]}", "[0.5]\n    seeds: [0, 1]"),
        ("[0, 1, 2]", "[0, 1]"),
    ]:
        assert old in text
        text = text.replace(old, new)
    board = "dpap: [dpap]\n    densities: [0.5]\n"
    assert board in text
    return text.replace(board, f"{board}    emergent: true\n    controls: [shuffled]\n")


@pytest.fixture
def small(project: Path) -> Path:
    """A project with a small quick board and tiny networks."""
    path = project / "params.yaml"
    path.write_text(smaller(path.read_text()))
    return project


SNN = "--workload digits-snn --method"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("--workload nope --method dpap --density 0.5", "unknown workload 'nope'"),
        (f"{SNN} magnitud --density 0.5", "did you mean 'magnitude'?"),
        (f"{SNN} dpap --density 0", "density 0 is not in"),
        (f"{SNN} dpap --density 1.5", "density 1.5 is not in"),
        (f"{SNN} dpap --density nan", "density nan is not in"),
        (f"{SNN} dpap --density half", "neither a number"),
        (f"{SNN} dpap", "needs --density"),
        (f"{SNN} dpap:hebb", "needs --density"),
        (f"{SNN} dpap:heb --density 0.5", "did you mean 'hebb'?"),
        (f"{SNN} magnitude --density emergent", "finds no density of its own"),
        (f"{SNN} dpap --density 0.5 --granularity unstructured", "structured, hybrid, not unst"),
        (f"{SNN} dpap --density 0.5 --granularity holes", "granularity"),
        (f"{SNN} dpap --density 0.5 --track later", "known: from-scratch, post-training."),
    ],
)
def test_wrong_input_is_refused_in_one_sentence_with_status_2(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: str,
    sentence: str,
) -> None:
    assert call(monkeypatch, "run", *arguments.split()) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert not (project / "results").exists()


def test_an_unknown_part_of_a_board_is_refused(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "sweep", "--only", "rows") == 2
    assert "'cells', 'matched', 'controls'" in capsys.readouterr().err
    for command in ("sweep", "plan"):
        assert call(monkeypatch, command, "--board", "embedded", "--density", "0.3") == 2
        assert "no density 0.3; it has 0.5, 0.25, 0.1, 0.05, emergent." in capsys.readouterr().err


def test_cuda_without_a_gpu_is_refused(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    cell = f"{SNN} dense --device cuda".split()
    for command in (["run", *cell], ["sweep", "--device", "cuda"]):
        assert call(monkeypatch, *command) == 2
        last = capsys.readouterr().err.splitlines()[-1]
        assert "finds no CUDA GPU here; run on the CPU with --device cpu" in last
    assert not list((project / "results").rglob("*.json"))


def test_outside_of_a_project_a_command_says_where_to_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, "list") == 1
    assert "change into your clone" in capsys.readouterr().err


@pytest.mark.parametrize("topic", ["methods", "workloads", "boards", "data"])
def test_list_prints_a_line_for_each_row_of_its_json(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], topic: str
) -> None:
    assert call(monkeypatch, "list", topic) == 0
    lines = capsys.readouterr().out.splitlines()
    assert call(monkeypatch, "list", topic, "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == len(lines) > 0
    assert all(row["name"] in line for row, line in zip(rows, lines, strict=True))


def test_fetch_prints_the_folder_of_a_data_set(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "fetch", "digits", "--json") == 0
    assert Path(json.loads(capsys.readouterr().out)["path"]) == project / "data" / "digits"
    assert call(monkeypatch, "fetch", "digit") == 2
    assert "did you mean 'digits'" in capsys.readouterr().err


def test_run_prints_a_line_and_reuses_its_record(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = ("run", "--workload", "digits-snn", "--method", "dpap", "--granularity", "hybrid")
    cell += ("--density", "0.5", "--seed", "3")
    assert call(monkeypatch, *cell) == 0
    (line,) = capsys.readouterr().out.splitlines()
    for part in ("accuracy", "density 0.5", "SynOps", " s  ", "results/local/digits-snn/dpap/"):
        assert part in line
    path = small / line.split()[-1]
    written = path.stat().st_mtime_ns
    assert call(monkeypatch, *cell, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["path"] == str(path)
    assert document["status"] == "ok"
    assert path.stat().st_mtime_ns == written, "a valid record is not computed again"


def sweep(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *more: str) -> Any:
    """Run a sweep in this process and return its JSON document."""
    assert call(monkeypatch, "sweep", "--engine", "serial", "--json", *more) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    if found["run"]:
        assert "cells, " in captured.err, "progress goes to stderr, with one line at least"
    assert "\r" not in captured.err, "a stream that is no terminal gets no bar"
    return found


@pytest.mark.slow
def test_sweep_and_report_of_a_whole_board(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "report") == 1
    assert "runs have no record" in capsys.readouterr().err
    assert call(monkeypatch, "report", "--show") == 1
    assert "has not been built yet" in capsys.readouterr().err

    first = sweep(monkeypatch, capsys, "--only", "cells")
    assert first["run"] == first["cells"] == 2 * (1 + 2 * 3 + 2 * 2)
    again = sweep(monkeypatch, capsys, "--only", "cells")
    assert (again["run"], again["skipped"]) == (0, first["cells"])

    lost = next((small / "results" / "boards" / "quick" / "records").rglob("*.json"))
    lost.unlink()
    assert sweep(monkeypatch, capsys, "--only", "cells")["run"] == 1, (
        "only the missing cell is computed"
    )

    assert call(monkeypatch, "report") == 1
    assert "(as dpap)" in capsys.readouterr().err
    matched = sweep(monkeypatch, capsys, "--only", "matched")
    assert matched["run"] == 2 * 2 * 2, (
        "random and magnitude matched to dpap, two granularities, two seeds"
    )
    assert call(monkeypatch, "report") == 1
    assert "magnitude-shuffled" in capsys.readouterr().err
    controls = sweep(monkeypatch, capsys, "--only", "controls")
    assert controls["run"] == (3 + 2 * 2) * 2, "magnitude and dpap, two seeds"
    whole = sweep(monkeypatch, capsys)
    assert whole["run"] == 0
    assert whole["cells"] == first["cells"] + matched["cells"] + controls["cells"]
    assert call(monkeypatch, "report") == 0
    assert call(monkeypatch, "report", "--show") == 0
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) < 15, "one short table"
    for part in (
        "Highest mean test accuracy of each table",
        "structured",
        "hybrid",
        "Unpruned: digits-ann",
    ):
        assert part in shown
    assert str(small / "results" / "boards" / "quick" / "leaderboard.html") in shown
    files = sorted((small / "results" / "boards" / "quick").glob("leaderboard.*")) + sorted(
        (small / "results" / "boards" / "quick" / "figures").iterdir()
    )
    assert len(files) == 5 + 2
    before = [file.read_bytes() for file in files]
    assert call(monkeypatch, "report") == 0
    assert [file.read_bytes() for file in files] == before, "a second report gives the same bytes"


@pytest.mark.slow
def test_a_new_row_of_a_finished_board_computes_that_row_only(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = small / "results" / "boards" / "quick"
    finished = fill(load_params(small), "quick", board_store(small, "quick"))
    before = {path: path.read_bytes() for path in folder.rglob("*.json")}
    assert sweep(monkeypatch, capsys)["skipped"] == finished == len(before)

    path = small / "params.yaml"
    old, grown = "[dense, random, magnitude]", "[dense, random, magnitude, fpgm]"
    path.write_text(path.read_text().replace(old, grown))
    assert call(monkeypatch, "plan", "--board", "quick", "--seconds", "0", "--missing") == 0
    # Two seeds: a cell, its control, and a run at the density that dpap found.
    new = 2 * 3
    assert f"digits-ann     {new} " in capsys.readouterr().out
    assert call(monkeypatch, "report") == 1
    assert "4 of 48 runs have no record (first: digits-ann fpgm" in capsys.readouterr().err

    found = sweep(monkeypatch, capsys)
    assert (found["run"], found["skipped"]) == (new, finished)
    after = {path: path.read_bytes() for path in folder.rglob("*.json")}
    assert len(after) == finished + new
    assert {path: after[path] for path in before} == before, "no other record is touched"
    folders = {path.parent.name for path in after.keys() - before.keys()}
    assert folders == {"fpgm", "fpgm-shuffled", "dpap-matched"}


def test_work_computes_exact_cells(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    params, store = load_params(small), board_store(small, "quick")
    fill(params, "quick", store)
    assert call(monkeypatch, "work", "--list") == 0
    assert capsys.readouterr().out.split() == []
    cell = next(spec for spec in params.cells("quick") if spec.method == "magnitude")
    store.path(cell).unlink()
    assert call(monkeypatch, "work", "--list") == 0
    assert capsys.readouterr().out.split() == [cell.run_id]
    with Claims(store.claims) as other:
        other.take(cell.run_id)
        assert call(monkeypatch, "work", cell.run_id, cell.run_id) == 1
    shown = capsys.readouterr()
    assert "0 of 1 cells run; 0 already had a valid record" in shown.out
    assert "1 cells are computed by another process" in shown.err
    assert call(monkeypatch, "work", cell.run_id) == 0
    assert "1 of 1 cells run; 0 already had a valid record" in capsys.readouterr().out
    assert not store.missing([cell])
    assert call(monkeypatch, "work", "0123456789abcdef") == 2
    assert "has no cell 0123456789abcdef" in capsys.readouterr().err
    assert call(monkeypatch, "work") == 2
    assert "--list" in capsys.readouterr().err


@pytest.mark.slow
def test_a_partial_board_is_shown_and_not_published(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "report", "--partial") == 1
    assert "no run of the board 'quick' has a record" in capsys.readouterr().err
    params, store = load_params(small), board_store(small, "quick")
    fill(params, "quick", store)
    (lost, *_) = params.cells("quick", methods=["magnitude"])
    store.path(lost).unlink()
    lacking = "2 of 44 runs are missing"  # the cell and its control
    assert call(monkeypatch, "report", "--partial") == 0
    out = capsys.readouterr().out.splitlines()
    page = store.root.parent / "partial" / "leaderboard.html"
    assert out == [f"Partial board: {lacking}.", f"Page: {page}"]
    assert page.exists()
    assert call(monkeypatch, "report", "--partial", "--show") == 0
    assert f"Partial board: {lacking}." in capsys.readouterr().out
    for option in (("--update", "README.md"), ("--literature",)):
        assert call(monkeypatch, "report", "--partial", *option) == 2
        assert "needs all cells; leave out --partial." in capsys.readouterr().err

    for command in (
        ("report",),
        ("report", "--literature"),
        ("report", "--show"),
        ("submit", "--method", "magnitude"),
        ("publish", "--to", "site"),
        ("publish", "--to", "site", "--board", "quick"),
        ("verify", "--seal", "--no-rerun"),
        ("verify", str(store.root), "--seal", "--no-rerun"),
        ("verify", str(page.parent), "--no-rerun"),
    ):
        assert call(monkeypatch, *command) == 1, command
        assert capsys.readouterr().err.count("dpap-bench: ") == 1
    assert not (small / "site").exists()
    assert not list(small.rglob("SHA256SUMS"))
    assert not list(small.rglob("submission*"))

    call(monkeypatch, "verify", str(store.root), "--no-rerun", "--seal", "--partial")
    assert (store.root / "SHA256SUMS").read_text().count(".json\n") == len([*store.records()])
    assert call(monkeypatch, "verify", str(store.root), "--no-rerun", "--partial") == 2
    assert "give --seal, too." in capsys.readouterr().err


def test_diff_prints_what_changed(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = board_store(small, "quick")
    fill(load_params(small), "quick", store)
    for part in ("records", "controls"):
        shutil.copytree(store.root.parent / part, small / "old" / "quick" / part)
    for path in store.root.parent.rglob("magnitude*/*.json"):
        path.unlink()
    sides = ("old/quick", "results/boards/quick")
    assert call(monkeypatch, "diff", *sides) == 0
    text = capsys.readouterr().out
    assert text.startswith("# Board quick: old/quick → results/boards/quick\n\n0 rows came, 3 went")
    assert call(monkeypatch, "diff", *sides, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert [row["method"] for row in document["went"]] == ["magnitude"] * 3
    assert (document["came"], document["moved"]) == ([], [])
    assert call(monkeypatch, "diff", "old/quick", "nowhere") == 2
    error = capsys.readouterr().err
    assert "'nowhere' is neither a folder nor a git revision" in error
    assert error.count("\n") == 1


@pytest.mark.slow
def test_a_cell_of_two_boards_is_computed_once(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep(monkeypatch, capsys, "--only", "cells")
    other = ("--board", "embedded", "--only", "cells", "--method", "magnitude")
    found = sweep(monkeypatch, capsys, *other)
    assert (found["run"], found["skipped"]) == (0, 2 * 3)
    first, second = (
        small / "results" / "boards" / board / "records" / "digits-ann" / "magnitude"
        for board in ("quick", "embedded")
    )
    copies = {path.name: path.read_bytes() for path in second.glob(f"{16 * '?'}.*")}
    assert copies == {path.name: path.read_bytes() for path in first.iterdir()}
    assert len(copies) == 2 * 2 * 3, "each record has two files"


def test_a_key_that_is_there_twice_is_refused(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with (project / "params.yaml").open("a") as file:
        file.write("\ncompute:\n  threads: 2\n")
    assert call(monkeypatch, "list", "boards") == 2
    error = capsys.readouterr().err
    assert "key 'compute' in line" in error
    assert error.count("\n") == 1


def test_the_code_digests_for_dvc_are_written_and_checked(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "digest") == 0
    assert call(monkeypatch, "digest") == 0
    assert call(monkeypatch, "digest", "--check") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(".yaml ")[2] for line in lines] == [
        "written",
        "has not changed",
        "is up to date",
    ]
    file = project / "results" / "code.yaml"
    written = yaml.safe_load(file.read_text())
    written["quick"]["magnitude"] = "0"
    file.write_text(yaml.safe_dump(written))
    assert call(monkeypatch, "digest", "--check") == 1
    assert "is out of date for quick: the code got another meaning" in capsys.readouterr().err


def test_fetch_writes_checksums(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call(monkeypatch, "fetch", "digits", "--checksums", "sums") == 0
    ((digest, name),) = (line.split("  ") for line in (project / "sums").read_text().splitlines())
    assert digest == sha256(project / "data" / name)


@pytest.mark.slow
def test_a_changed_hyper_parameter_reruns_only_its_method(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep(monkeypatch, capsys, "--only", "cells")
    path = small / "methods.yaml"
    path.write_text(re.sub(r"\bp: ([12])", lambda p: f"p: {3 - int(p[1])}", path.read_text()))
    assert sweep(monkeypatch, capsys, "--only", "cells")["run"] == 2 * 3


@pytest.mark.slow
def test_a_killed_sweep_leaves_no_worker_and_no_incomplete_record(small: Path) -> None:
    command = [sys.executable, "-m", "pipelines.cli.main", "sweep", "--workers", "2"]
    # Workers inherit the pipe: `communicate` returns only when the last of them has ended.
    sweep = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    records = small / "results" / "boards" / "quick" / "records"
    while sweep.poll() is None and not list(records.rglob("*.json")):
        assert sweep.stdout is not None
        sweep.stdout.read1(100)
    sweep.kill()
    sweep.communicate(timeout=60)
    done = list(records.rglob("*.json"))
    assert done
    assert all(read_record(path).status for path in done)
