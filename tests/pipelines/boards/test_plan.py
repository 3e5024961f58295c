"""What a board takes: counted by hand, and by the records of a board that was computed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from pipelines import data
from pipelines.boards.calibration import calibrate, dense_macs, input_shape
from pipelines.boards.params import Params, load_params
from pipelines.boards.plan import PASSES, count_runs, plan_board
from pipelines.cli.main import main
from pipelines.cli.planning import to_text
from pipelines.common.errors import BenchError
from pipelines.data.images import ImageDataset
from pipelines.data.sets.dvs_gesture import Trials
from pipelines.data.sets.imagenet import ImageFolders
from pipelines.data.sets.tonic_sets import TEST, TonicSet
from pipelines.engines.engine import run_cells
from pipelines.records.store import Store

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
    path.write_text(yaml.safe_dump(fields))
    return project


def test_runs_are_those_that_a_computed_board_has(
    small: Path, tmp_path_factory: pytest.TempPathFactory, data_root: Path
) -> None:
    params = load_params(small)
    runs = count_runs(params, "small")
    # Dense, and random, magnitude, dpap at one density and dpap without; two seeds each.
    # Twins: random and magnitude for each emergent run. Controls: of all pruned but random.
    assert runs == {("digits-snn", "from-scratch"): 2 * (1 + 3 + 1) + 2 * 2 + 2 * 3}
    store = Store(tmp_path_factory.mktemp("results") / "records")
    for part in ("cells", "matched", "controls"):
        for _ in run_cells(params.part(part, "small", store), data_root, store, "serial", 1):
            pass
    assert len(params.everything("small", store)) == runs.total()


def test_post_training_counts_the_networks_that_it_starts_from(params: Params) -> None:
    board, runs = params.board("post-training"), count_runs(params, "post-training")
    cells = params.cells("post-training")
    assert runs["digits-snn", "post-training"] == len(cells)
    assert runs["digits-snn", "from-scratch"] == len(board.seeds)


def test_samples_and_operations_by_hand(small: Path) -> None:
    params = load_params(small)
    (need,) = plan_board(params, "small", 0, methods=["dense"])
    assert (need.runs, need.samples, need.evaluated) == (2, 2 * 1167, 2 * (180 + 450))
    # 8 x 8 inputs, 4 x 4 and 2 x 2 after pooling, four steps. A 3 x 3 kernel finds (3n - 2)^2
    # inputs in an n x n map: what lies outside is no operation.
    macs = 4 * (6 * 22**2 + 8 * 6 * 10**2 + 12 * 8 * 4 + 10 * 12)
    assert dense_macs(params.workloads["digits-snn"], (1, 8, 8), 10) == macs
    assert need.flops == 2 * macs * (PASSES * need.samples + need.evaluated)
    assert need.hours is None


def test_a_device_is_timed_at_the_batch_of_the_recipe(params: Params) -> None:
    settings = params.workloads["digits-snn"]
    pace = calibrate(settings, (1, 8, 8), 10, torch.device("cpu"), 0.5)
    assert pace.batch == settings.recipe.batch_size
    assert 0 < pace.evaluation < pace.training


def test_a_batch_that_does_not_fit_is_not_timed(
    params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines.boards import calibration

    whole, most = calibration._step, 16

    def step(*arguments: Any) -> None:
        if len(arguments[-1]) > most:
            raise torch.OutOfMemoryError
        whole(*arguments)

    monkeypatch.setattr(calibration, "_step", step)
    settings, here = params.workloads["digits-snn"], torch.device("cpu")
    assert calibrate(settings, (1, 8, 8), 10, here, 0.5).batch == 16
    most = 1
    with pytest.raises(BenchError, match="do not fit into memory here"):
        calibrate(settings, (1, 8, 8), 10, here, 0.5)


def test_recordings_are_timed_as_frames(params: Params) -> None:
    settings = params.workloads["fashion-dvs"]
    assert input_shape(settings, (2, 34, 34)) == (2, 34, 34)
    halved = settings.model_copy(update={"frames": settings.frames.model_copy(update={"scale": 4})})
    assert input_shape(halved, (2, 34, 34)) == (2, 9, 9)
    assert calibrate(halved, (2, 9, 9), 10, torch.device("cpu"), 0.2).training > 0


@pytest.mark.parametrize("name", data.SOURCES)
def test_sizes_are_what_the_loaders_say(name: str, data_root: Path) -> None:
    source = data.SOURCES[name]
    size, loader = source.size, source.loader
    if source.events:
        assert size.shape[1:] == source.event_loader.SENSOR
    if isinstance(loader, TonicSet):
        assert size.shape[0] == loader.polarities
        assert (size.classes, size.validation) == (loader.classes, loader.validation)
        assert size.train + size.validation + size.test == sum(loader.counts.values())
        assert size.test == (loader.test or loader.counts[TEST])
    elif isinstance(loader, ImageDataset):
        assert (size.classes, size.validation) == (loader.classes, loader.validation)
    elif isinstance(loader, Trials | ImageFolders):
        assert (size.classes, size.validation) == (loader.classes, loader.validation)
        assert size.train + size.validation == loader.training
        assert size.test == (getattr(loader, "kept", 0) or loader.test)
    elif not source.events:
        found = data.load_training(name, data_root)
        test = data.load_test(name, data_root)
        lengths = len(found.train), len(found.validation), len(test)
        assert lengths == (source.size.train, source.size.validation, source.size.test)
        assert (found.input_shape, found.classes) == (source.size.shape, source.size.classes)


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


def test_without_timing_no_hours_are_claimed(small: Path) -> None:
    text = to_text(plan_board(load_params(small), "small", 0), "nowhere")
    assert "nowhere" not in text
    assert "times nothing" in text
