"""Dense checkpoints: one for each workload and seed, from which all post-training cells start."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from msgspec.structs import replace
from torch import Tensor, nn

from baselines.magnitude import Magnitude
from baselines.shared.contract import PruneContext
from pipelines.boards.board import Board
from pipelines.boards.params import Params
from pipelines.common.errors import InputError
from pipelines.data import load_training
from pipelines.engines.engine import run_cells
from pipelines.networks.initial import build_network
from pipelines.records.checkpoint import (
    checkpoint_path,
    dense_cell,
    read_checkpoint,
    state_digest,
    write_checkpoint,
)
from pipelines.records.digest import code_digest
from pipelines.records.store import Store
from pipelines.settings.spec import RunSpec
from pipelines.settings.workload import Workload
from pipelines.training import cell as cell_module
from pipelines.training.cell import make_start, run_cell
from pipelines.training.evaluation import evaluate

#: Number of training samples of the digits.
SAMPLES = 1167


@pytest.fixture
def cells(params: Params, tiny: dict[str, Workload]) -> list[RunSpec]:
    """Post-training cells of four methods on one workload, with two seeds."""
    made = []
    for method, granularity, density in [
        ("dense", "none", 1.0),
        ("random", "unstructured", 0.5),
        ("magnitude", "structured", 0.5),
        ("dpap", "hybrid", 0.5),
    ]:
        for seed in (0, 1):
            spec = params.spec("digits-snn", method, granularity, density, seed, "post-training")
            made.append(replace(spec, settings=tiny["digits-snn"]))
    return made


@pytest.mark.slow
def test_all_methods_start_from_one_checkpoint_with_one_budget(
    cells: list[RunSpec], data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "records")
    records = list(run_cells(cells, data_root, store, "processes", 2))
    assert not store.missing(cells)
    hashes = {seed: {r.checkpoint for r in records if r.spec.seed == seed} for seed in (0, 1)}
    assert all(len(found) == 1 for found in hashes.values())
    assert hashes[0] != hashes[1]
    for record in records:
        assert record.status == "ok", record.message
        assert record.budget == sum(record.spent.values()) == SAMPLES
        assert max(p.learning_rate for p in record.curve) <= 0.001
    files = [p for p in store.checkpoints.rglob("*") if p.is_file()]
    assert {p.name for p in files} == {f"{dense_cell(c).run_id}.safetensors" for c in cells}

    # The checkpoint is the network of the from-scratch dense cell: it has the same accuracy.
    dense = run_cell(dense_cell(cells[0]), data_root)
    assert dense.checkpoint == ""
    assert dense.outcome is not None
    data = load_training("digits", data_root)
    network = build_network(cells[0].settings.network, data.input_shape, data.classes, 5)
    code = code_digest(dense_cell(cells[0]))
    path = checkpoint_path(store.checkpoints, cells[0])
    found = read_checkpoint(path, dense.run_id, [code])
    assert found is not None
    network.load_state_dict(found.state)
    assert evaluate(network, data.validation).accuracy == dense.outcome.validation_accuracy

    # Records are stale if the checkpoint is another one, but not if it is missing.
    write_checkpoint(path, {"w": torch.zeros(1)}, dense.run_id, code)
    assert {spec.seed for spec in store.missing(cells)} == {0}
    path.unlink()
    assert not store.missing(cells)


def test_a_run_starts_from_the_state_of_the_checkpoint(
    cells: list[RunSpec], data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Tensor]] = []

    class Spy(Magnitude):
        def begin(self, network: nn.Module, context: PruneContext) -> None:
            super().begin(network, context)
            seen.append({name: t.clone() for name, t in network.state_dict().items()})

    real = cell_module.check
    monkeypatch.setattr(
        cell_module, "check", lambda spec: Spy() if spec.method == "magnitude" else real(spec)
    )
    cell = next(c for c in cells if c.method == "magnitude")
    record = run_cell(cell, data_root, tmp_path)
    (start,) = seen
    assert state_digest(start) == record.checkpoint
    assert float(start["conv1_norm.running_mean"].abs().sum()) > 0, (
        "statistics of batch norm are part of the state"
    )


@pytest.mark.parametrize("fault", ["cut", "flipped", "other code", "other cell"])
def test_a_damaged_or_foreign_checkpoint_is_made_again(
    cells: list[RunSpec], data_root: Path, tmp_path: Path, fault: str
) -> None:
    first = run_cell(cells[0], data_root, tmp_path)
    path, run_id = checkpoint_path(tmp_path, cells[0]), dense_cell(cells[0]).run_id
    good, code = path.read_bytes(), code_digest(dense_cell(cells[0]))
    if fault == "cut":
        path.write_bytes(good[:-7])
    elif fault == "flipped":
        path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    else:
        names = (run_id, "0") if fault == "other code" else ("0", code)
        write_checkpoint(path, {"w": torch.zeros(1)}, *names)
    again = run_cell(cells[0], data_root, tmp_path)
    assert again.checkpoint == first.checkpoint
    found = read_checkpoint(path, run_id, [code])
    assert found is not None
    assert found.digest == first.checkpoint == state_digest(found.state)
    assert again.outcome is not None
    assert first.outcome is not None
    assert again.outcome.test_loss == first.outcome.test_loss


def test_the_digest_depends_on_names_types_shapes_and_values_only() -> None:
    weights = torch.randn(4, 3, 2, 2)
    state = {"a": weights, "b": torch.tensor(3)}
    same = {"b": torch.tensor(3), "a": weights.to(memory_format=torch.channels_last)}
    assert state_digest(state) == state_digest(same)
    changes = [{"a": weights + 1}, {"b": torch.tensor(3.0)}, {"a": weights.view(3, 4, 2, 2)}]
    assert len({state_digest(state | change) for change in changes} | {state_digest(state)}) == 4


def test_cells_whose_dense_network_diverges_are_diverged(
    cells: list[RunSpec], data_root: Path, tmp_path: Path
) -> None:
    settings = cells[0].settings
    hot = settings.recipe.model_copy(update={"learning_rate": 1e30, "optimizer": "sgd"})
    spec = replace(cells[0], settings=settings.model_copy(update={"recipe": hot}))
    make_start(spec, data_root, tmp_path)
    record = run_cell(spec, data_root, tmp_path)
    assert (record.status, record.checkpoint) == ("diverged", "")
    assert not list(tmp_path.rglob("*.safetensors"))


def test_fine_tuning_does_not_change_from_scratch_run_ids(params: Params) -> None:
    workload = params.workloads["digits-ann"]
    assert workload.fine_tuning is not None
    without = workload.model_copy(update={"fine_tuning": None})
    other = params.model_copy(update={"workloads": {"digits-ann": without}})
    cell = ("digits-ann", "magnitude", "structured", 0.5, 0)
    assert params.spec(*cell).run_id == other.spec(*cell).run_id
    later = params.spec(*cell, "post-training")
    assert later.run_id != params.spec(*cell).run_id
    dense = params.spec("digits-ann", "dense", "none", 1.0, 0)
    assert dense_cell(later) == dense
    assert dense_cell(later).run_id == dense.run_id
    assert later.recipe == workload.recipe.model_copy(update=dict(workload.fine_tuning))
    with pytest.raises(InputError, match="has no post-training track; give it 'fine_tuning'"):
        other.spec(*cell, "post-training")


def test_a_board_leaves_out_methods_that_do_not_enter_a_track(params: Params) -> None:
    board = Board(
        workloads=("digits-ann",),
        baselines=("dense", "magnitude"),
        densities=(0.5,),
        granularities=("none", "unstructured"),
        seeds=(0,),
        tracks=("from-scratch", "post-training"),
    )
    wide = params.model_copy(update={"boards": {"b": board}})
    assert [(c.method, c.track) for c in wide.cells("b")] == [
        ("dense", "from-scratch"),
        ("dense", "post-training"),
        ("magnitude", "from-scratch"),
        ("magnitude", "post-training"),
    ]
    assert {c.track for c in params.cells("embedded")} == {"from-scratch"}
