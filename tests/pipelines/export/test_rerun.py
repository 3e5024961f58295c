"""Second runs for export: records are found, run as before, and forged ones are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from pipelines.boards.params import Params
from pipelines.common.errors import BenchError, InputError
from pipelines.export.rerun import find_record, rerun
from pipelines.records.record import RunRecord
from pipelines.records.store import Store
from pipelines.settings.workload import Workload
from pipelines.training.cell import run_cell
from tests.pipelines.cli.test_main import call


def test_a_run_is_found_by_the_beginning_of_its_id(home: Path, made: dict[str, RunRecord]) -> None:
    record = made["ann"]
    with pytest.raises(InputError, match="no record in results/ has a run id that begins"):
        find_record(home, "zz")
    with pytest.raises(InputError, match=rf"{len(made)} runs begin with '' \(.*give more of it"):
        find_record(home, "")
    Store(home / "results" / "boards" / "quick" / "records").write(record)
    assert find_record(home, record.run_id[:12]) == record, (
        "a run that is in two folders counts once"
    )


@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "on another machine"])
def test_a_forged_record_is_not_exported(
    elsewhere: bool,
    home: Path,
    made: dict[str, RunRecord],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    document = json.loads(made["structured"].to_json())
    document["outcome"]["test_accuracy"] = 0.01
    if elsewhere:
        document["environment"]["processor"] = "another"
        document["outcome"]["layout"] = "7C3-MP2-7C3-MP2-7FC"
    path = Store(home / "results" / "local").path(made["structured"].spec)
    path.write_text(json.dumps(document))
    assert call(monkeypatch, "export", path.stem) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"dpap-bench: nothing is exported: the record of {path.stem} ")
    if elsewhere:
        assert "has test accuracy 0.0100, a second run" in last
        assert "It has the layout 7C3-MP2-7C3-MP2-7FC, a second run" in last
    else:
        assert "outcome differs in a second run." in last
    assert not (home / "results" / "local" / "export").exists()


def test_a_run_without_an_outcome_is_not_exported(
    home: Path,
    made: dict[str, RunRecord],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken = replace(made["ann"], status="diverged", outcome=None)
    Store(home / "results" / "local").write(broken)
    assert call(monkeypatch, "export", broken.run_id) == 2
    assert "has status diverged and no network to export" in capsys.readouterr().err


@pytest.mark.slow
def test_controls_and_post_training_cells_are_run_as_before(
    home: Path, params: Params, tiny: dict[str, Workload], data_root: Path
) -> None:
    small = params.model_copy(update={"workloads": tiny})
    store = Store(home / "results" / "boards" / "quick" / "records")
    spec = small.spec("digits-snn", "magnitude", "structured", 0.5, 0)
    parent = run_cell(spec, data_root)
    control = run_cell(replace(spec, control="reinit"), data_root, parent=parent)
    with pytest.raises(InputError, match="follows its parent"):
        rerun(home, control)
    store.write(parent)
    post_training = small.spec("digits-snn", "magnitude", "structured", 0.5, 0, "post-training")
    for record in (control, run_cell(post_training, data_root, home / "checkpoints")):
        assert record.outcome is not None, record.message
        again, network = rerun(home, record)
        assert again.outcome is not None
        assert again.outcome.test_accuracy == record.outcome.test_accuracy
        assert network.layout == record.outcome.layout
        assert not network.training


def test_an_exception_in_the_second_run_is_reported_in_one_sentence(
    home: Path, made: dict[str, RunRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no scissors")

    monkeypatch.setattr("pipelines.training.cell.remove_units", broken)
    with pytest.raises(BenchError, match=r"failed \(RuntimeError: no scissors\)"):
        rerun(home, made["ann"])
