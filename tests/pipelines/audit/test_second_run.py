"""Second runs of cells that depend on other runs: a dense checkpoint, or a parent."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from pipelines.audit.second_run import draw, run_again, second_run, second_runs
from pipelines.boards.params import Params
from pipelines.common.errors import BenchError
from pipelines.engines.engine import run_cells
from pipelines.records.files import read_record
from pipelines.records.record import RunRecord
from pipelines.records.store import Store
from pipelines.settings.spec import RunSpec
from pipelines.settings.tolerance import TOLERANCE
from pipelines.settings.workload import Workload
from tests.helpers.paths import ROOT


@pytest.fixture
def root(tmp_path: Path, data_root: Path) -> Path:
    """A project folder with the digits."""
    (tmp_path / "data").symlink_to(data_root)
    return tmp_path


def run(spec: RunSpec, root: Path) -> RunRecord:
    """Run a cell, and store its record."""
    store = Store(root / "results" / "boards" / "quick" / "records")
    (record,) = run_cells([spec], root / "data", store, "serial", 1)
    assert record.status == "ok", record.message
    return record


def claim(record: RunRecord) -> RunRecord:
    """The record with a forged test accuracy."""
    assert record.outcome is not None
    outcome = replace(record.outcome, test_accuracy=1.0)
    return replace(record, outcome=outcome)


@pytest.mark.slow
def test_second_run_of_a_post_training_cell(
    params: Params, tiny: dict[str, Workload], root: Path
) -> None:
    spec = params.spec("digits-ann", "magnitude", "unstructured", 0.5, 0, "post-training")
    record = run(replace(spec, settings=tiny["digits-ann"]), root)
    assert record.checkpoint
    assert second_run(record, root) == []
    assert second_run(claim(record), root) == ["outcome differs in a second run."]
    other = replace(record, checkpoint="0" * 64)
    assert second_run(other, root) == ["checkpoint differs in a second run."]


@pytest.mark.slow
def test_second_run_of_a_control(params: Params, tiny: dict[str, Workload], root: Path) -> None:
    settings = tiny["digits-ann"].of_track("from-scratch")
    cell = params.spec("digits-ann", "magnitude", "unstructured", 0.5, 0)
    parent = run(replace(cell, settings=settings), root)
    control = run(replace(parent.spec, control="shuffled"), root)
    assert second_run(control, root) == []
    assert second_run(claim(control), root) == ["outcome differs in a second run."]


def test_a_control_whose_parent_is_not_ok_in_a_second_run(
    params: Params, tiny: dict[str, Workload], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TOLERANCE, "structured", -1.0)  # no density meets the target
    settings = tiny["digits-ann"].of_track("from-scratch")
    cell = params.spec("digits-ann", "magnitude", "structured", 0.5, 0)
    spec = replace(cell, settings=settings)
    store = Store(root / "results" / "boards" / "quick" / "records")
    (parent,) = run_cells([spec], root / "data", store, "serial", 1)
    assert parent.status == "off-target"
    claimed = replace(spec, control="shuffled")
    record = replace(parent, spec=claimed, status="ok", message="")
    (sentence,) = second_run(record, root)
    assert sentence.startswith("has a parent whose second run is off-target: density")


def test_a_record_of_a_device_that_is_not_here_is_not_drawn(
    params: Params, tiny: dict[str, Workload], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    settings = tiny["digits-ann"].of_track("from-scratch")
    spec = params.spec("digits-ann", "dense", None, 1.0, 0)
    record = run(replace(spec, settings=settings), root)
    store = Store(root / "results" / "boards" / "quick" / "records")
    elsewhere = replace(record.spec, device="cuda")
    store.write(replace(record, spec=elsewhere, run_id=elsewhere.run_id))
    files = sorted(store.root.rglob("*.json"))
    assert len(files) == 2
    assert all(draw(files) == [store.path(record.spec)] for _ in range(10))
    assert draw([store.path(elsewhere)]) == []
    assert read_record(store.path(elsewhere)).spec.device == "cuda"


def test_a_second_run_that_takes_too_long_is_given_up(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = min((ROOT / "results" / "boards" / "quick" / "records" / "digits-snn").rglob("*.json"))
    monkeypatch.setattr("pipelines.audit.second_run.LIMIT", 0.02)
    with pytest.raises(BenchError, match="no cell that was drawn ended within"):
        list(second_runs([path], [path], lambda _, record: run_again(record, root)))
