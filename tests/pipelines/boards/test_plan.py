"""The estimated cost of a board, compared with counts by hand and with a computed board."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import pytest
import torch
import yaml
from msgspec.structs import replace

from pipelines.boards.calibration import dense_macs
from pipelines.boards.params import Params, load_params
from pipelines.boards.plan import PASSES, Need, count_runs, plan_board
from pipelines.cli.main import main
from pipelines.cli.planning import to_text
from pipelines.engines.engine import run_cells
from pipelines.records.checkpoint import checkpoint_path, write_checkpoint
from pipelines.records.store import Store, board_store
from tests.helpers.handmade import fill, of_spec
from tests.helpers.projects import write_params

BOARD = {
    "workloads": ["digits-snn"],
    "baselines": ["dense", "random", "magnitude"],
    "dpap": ["dpap"],
    "granularities": ["none", "hybrid"],
    "densities": [0.5],
    "emergent": True,
    "seeds": [0, 1],
    "controls": ["shuffled"],
}


@pytest.fixture
def small(project: Path) -> Path:
    """A project with a board of a few cells of a tiny network."""
    path = project / "params.yaml"
    fields = yaml.safe_load(path.read_text())
    fields["boards"]["small"] = BOARD
    workload = fields["workloads"]["digits-snn"]
    workload["network"]["layout"] = "6C3-MP2-8C3-MP2-12FC"
    workload["recipe"] |= {"epochs": 1}
    write_params(path.parent, fields)
    return project


@pytest.mark.slow
def test_as_many_runs_are_counted_as_a_computed_board_has(
    small: Path, tmp_path_factory: pytest.TempPathFactory, data_root: Path
) -> None:
    params = load_params(small)
    runs = count_runs(params, "small")
    # Two seeds. Cells: dense, three methods at one density, and dpap without a target.
    # Matched runs: random and magnitude for each emergent run. Controls: one of each pruned cell
    # whose method is not random.
    assert runs == {("digits-snn", "from-scratch"): 2 * (1 + 3 + 1) + 2 * 2 + 2 * 3}
    store = Store(tmp_path_factory.mktemp("results") / "records")
    for part in ("cells", "matched", "controls"):
        for _ in run_cells(params.part(part, "small", store), data_root, store, "serial", 1):
            pass
    assert len(params.everything("small", store)) == runs.total()


def test_post_training_counts_the_dense_networks_that_it_starts_from(params: Params) -> None:
    board, runs = params.board("post-training"), count_runs(params, "post-training")
    cells = params.cells("post-training")
    assert runs["digits-snn", "post-training"] == len(cells)
    assert runs["digits-snn", "from-scratch"] == len(board.seeds)


def test_samples_and_operations_by_hand(small: Path) -> None:
    params = load_params(small)
    (need,) = plan_board(params, "small", 0, methods=["dense"])
    assert (need.runs, need.samples, need.evaluated) == (2, 2 * 1167, 2 * (180 + 450))
    # Inputs are 8 x 8, then 4 x 4 and 2 x 2 after pooling; there are four time steps. A 3 x 3
    # kernel on an n x n map has (3n - 2)^2 operations, because padding is not counted.
    macs = 4 * (6 * 22**2 + 8 * 6 * 10**2 + 12 * 8 * 4 + 10 * 12)
    assert dense_macs(params.workloads["digits-snn"], (1, 8, 8), 10) == macs
    assert need.flops == 2 * macs * (PASSES * need.samples + need.evaluated)
    assert need.hours is None


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["dpap-bench", "plan", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert not stopped.value.code


def test_the_command_prints_a_table(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "--board", "small", "--seconds", "0.5")
    table = capsys.readouterr().out
    assert "digits-snn    20" in table
    assert "one thread of this CPU" in table
    run(monkeypatch, "--board", "small", "--seconds", "0.5", "--json")
    document = json.loads(capsys.readouterr().out)
    assert document["device"] == "cpu"
    (need,) = document["needs"]
    assert need["runs"] == 20
    assert need["hours"] > 0


def test_without_a_measurement_there_are_no_hours(small: Path) -> None:
    text = to_text(plan_board(load_params(small), "small", 0), "nowhere")
    assert "nowhere" not in text
    assert "because --seconds 0 measures nothing" in text


def test_of_a_gpu_the_text_says_how_many_cells_fit() -> None:
    need = Need("digits-snn", 2, 100, 50, 1e9, batch=64, hours=0.5, fitting=6)
    assert "fit on this GPU at a time, by memory: digits-snn 6." in to_text([need], "a GPU")
    assert "fit on" not in to_text([dataclasses.replace(need, fitting=None)], "a CPU")


def test_with_valid_records_only_a_new_row_is_missing(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = board_store(small, "small")
    assert fill(load_params(small), "small", store) == 20
    run(monkeypatch, "--board", "small", "--seconds", "0", "--missing")
    assert capsys.readouterr().out == "Nothing is missing: every run has a valid record.\n"

    fields = yaml.safe_load((small / "params.yaml").read_text())
    fields["boards"]["small"]["baselines"].append("magnitude:layer-wise")
    write_params(small, fields)
    grown = load_params(small)
    # Two seeds: its cell, its matched run at the density that dpap found, its shuffled control.
    assert count_runs(grown, "small", stores=[store]).total() == 2 * 3
    run(monkeypatch, "--board", "small", "--seconds", "0", "--missing", "--json")
    (need,) = json.loads(capsys.readouterr().out)["needs"]
    assert (need["runs"], need["samples"]) == (6, 6 * 1167)
    run(monkeypatch, "--board", "small", "--seconds", "0", "--missing")
    assert "Runs: those without a valid record" in capsys.readouterr().out

    fields["boards"]["other"] = fields["boards"]["small"]
    write_params(small, fields)
    stores = [board_store(small, name) for name in ("other", "small")]
    assert count_runs(load_params(small), "other", stores=stores).total() == 6, (
        "a sweep copies the valid records of other boards"
    )


def test_post_training_counts_only_the_trained_networks_that_are_gone(small: Path) -> None:
    fields = yaml.safe_load((small / "params.yaml").read_text())
    later = {"tracks": ["post-training"], "emergent": False, "controls": [], "seeds": [0]}
    fields["boards"] = {"small": BOARD | later}
    write_params(small, fields)
    params, store = load_params(small), board_store(small, "small")
    fill(params, "small", store)
    lost, *others = reversed(params.cells("small"))
    store.path(lost).unlink()
    counts = {("digits-snn", "post-training"): 1, ("digits-snn", "from-scratch"): 1}
    assert count_runs(params, "small", stores=[store]) == counts
    path = checkpoint_path(store.checkpoints, lost)
    start = write_checkpoint(path, {"weight": torch.zeros(1)}, "run", "code")
    for spec in others:
        store.write(replace(of_spec(params, spec), checkpoint=start.digest))
    assert count_runs(params, "small", stores=[store]) == {("digits-snn", "post-training"): 1}
