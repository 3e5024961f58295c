"""Exporting runs: what is written is the record's network, and what is not is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from msgspec.structs import replace
from safetensors import safe_open
from safetensors.torch import save_file

from pipelines.boards.params import Params
from pipelines.common.errors import BenchError, InputError
from pipelines.data import load_test
from pipelines.export import bundle as export
from pipelines.export import nir as nir_graph
from pipelines.export.network_file import STEPS, load_network
from pipelines.records.record import RunRecord
from pipelines.records.store import Store
from pipelines.settings.workload import Workload
from pipelines.training.cell import run_cell
from tests.pipelines.cli.test_main import call

CELLS = {
    "structured": ("digits-snn", "magnitude", "structured"),
    "unstructured": ("digits-snn", "magnitude", "unstructured"),
    "hybrid": ("digits-snn", "dpap", "hybrid"),
    "spatio-temporal": ("digits-snn", "dpap-st", "spatio-temporal"),
    "ann": ("digits-ann", "magnitude", "structured"),
    "residual": ("digits-residual", "magnitude", "structured"),
}


@pytest.fixture(scope="module")
def made(params: Params, tiny: dict[str, Workload], data_root: Path) -> dict[str, RunRecord]:
    """One run of each kind; in four epochs, `dpap-st` silences some steps."""
    longer = {
        name: workload.model_copy(
            update={"recipe": workload.recipe.model_copy(update={"epochs": 4})}
        )
        for name, workload in tiny.items()
    }
    network = longer["digits-snn"].network.model_copy(
        update={"layout": "6C3s2-[5C3-6C3]-[6C3s2-8C3]-GAP-12FC"}
    )
    longer["digits-residual"] = longer["digits-snn"].model_copy(update={"network": network})
    small = params.model_copy(update={"workloads": longer})
    cells = {
        kind: small.spec(place, name, granularity, 0.5, 0)
        for kind, (place, name, granularity) in CELLS.items()
    }
    return {kind: run_cell(cell, data_root) for kind, cell in cells.items()}


@pytest.fixture
def home(project: Path, data_root: Path, made: dict[str, RunRecord]) -> Path:
    """A project with those runs."""
    (project / "data").symlink_to(data_root)
    for record in made.values():
        Store(project / "results" / "local").write(record)
    return project


@pytest.mark.parametrize("kind", CELLS)
def test_the_network_of_a_run(
    kind: str,
    home: Path,
    made: dict[str, RunRecord],
    data_root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    record = made[kind]
    assert record.outcome is not None, record.message
    assert call(monkeypatch, "export", record.run_id[:9]) == 0
    out, err = capsys.readouterr()
    folder = home / "results" / "local" / "export" / record.run_id
    assert out.split() == [str(path) for path in sorted(folder.iterdir())]
    assert "running digits" in err

    network = load_network(folder / "network.safetensors")
    split = load_test("digits", data_root)
    with torch.no_grad():
        right = int((network(split.inputs).argmax(1) == split.labels).sum())
    assert right / len(split) == record.outcome.test_accuracy
    assert network.layout == record.outcome.layout
    names = record.outcome.cost.layers.keys() - {"readout"}
    weights = [network.get_parameter(f"{name}.weight") for name in names]
    cost = record.outcome.cost
    there = sum(int((weight != 0).sum()) for weight in weights) / cost.prunable
    assert there == pytest.approx(cost.density)
    if kind in ("structured", "residual"):
        assert sum(weight.numel() for weight in weights) / cost.prunable == there
    silenced = sum(int((~kept).sum()) for kept in network.gates.values())
    assert (silenced > 0) == (kind == "spatio-temporal") == (cost.timestep_sparsity > 0)

    graph, readme = (folder / "network.nir").exists(), (folder / "README.md").read_text()
    assert record.run_id in readme
    assert f"{100 * record.outcome.test_accuracy:.2f} %" in readme
    if kind in ("spatio-temporal", "ann"):
        reason = "silenced time steps" if kind == "spatio-temporal" else "NIR has no ReLU"
        assert not graph
        assert reason in err
        assert reason in readme
    else:
        assert graph == (nir_graph.nir is not None)


def test_the_file_says_where_it_comes_from(
    home: Path, made: dict[str, RunRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    record = made["structured"]
    assert call(monkeypatch, "export", record.run_id, "--to", str(home / "out")) == 0
    with safe_open(home / "out" / "network.safetensors", "pt") as file:
        metadata = file.metadata()
        assert not [name for name in file.keys() if name.startswith(STEPS)]  # noqa: SIM118
    assert metadata["run_id"] == record.run_id
    assert metadata["code_digest"] == record.code_digest
    assert record.outcome is not None
    assert metadata["layout"] == record.outcome.layout
    assert json.loads(metadata["network"])["layout"] == record.outcome.layout
    assert json.loads(metadata["input_shape"]) == [1, 8, 8]
    assert metadata["classes"] == "10"


def test_the_readme_works(
    home: Path, made: dict[str, RunRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    record = made["hybrid"]
    assert call(monkeypatch, "export", record.run_id, "--to", str(home / "out")) == 0
    _, code, _ = (home / "out" / "README.md").read_text().split("```")
    monkeypatch.chdir(home / "out")
    names: dict[str, torch.Tensor] = {}
    exec(code.removeprefix("python"), names)
    assert names["scores"].shape == (1, 10)


def test_a_missing_package_leaves_out_the_graph_alone(
    home: Path,
    made: dict[str, RunRecord],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(nir_graph, "nir", None)
    folder = home / "out"
    folder.mkdir()
    (folder / "network.nir").write_text("of another run")
    assert call(monkeypatch, "export", made["structured"].run_id, "--to", str(folder)) == 0
    assert "pip install -c constraints.txt -e '.[export]'" in capsys.readouterr().err
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "network.safetensors"]


def test_names_of_runs(home: Path, made: dict[str, RunRecord]) -> None:
    record = made["ann"]
    with pytest.raises(InputError, match="no record in results/ has a run id that begins"):
        export.find(home, "zz")
    with pytest.raises(InputError, match=rf"{len(made)} runs begin with '' \(.*give more of it"):
        export.find(home, "")
    Store(home / "results" / "boards" / "quick" / "records").write(record)
    assert export.find(home, record.run_id[:12]) == record, "a run in two folders is one run"


@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "on another machine"])
def test_a_record_that_was_edited_is_refused(
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


def test_a_run_without_an_outcome_has_no_network(
    home: Path,
    made: dict[str, RunRecord],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken = replace(made["ann"], status="diverged", outcome=None)
    Store(home / "results" / "local").write(broken)
    assert call(monkeypatch, "export", broken.run_id) == 2
    assert "is diverged: it left no network" in capsys.readouterr().err


def test_controls_and_later_tracks_are_run_as_they_were(
    home: Path, params: Params, tiny: dict[str, Workload], data_root: Path
) -> None:
    small = params.model_copy(update={"workloads": tiny})
    store = Store(home / "results" / "boards" / "quick" / "records")
    spec = small.spec("digits-snn", "magnitude", "structured", 0.5, 0)
    twin = replace(spec, control="reinit")
    parent = run_cell(spec, data_root)
    control = run_cell(twin, data_root, parent=parent)
    with pytest.raises(InputError, match="follows its parent"):
        export.repeat(home, control)
    store.write(parent)
    later = small.spec("digits-snn", "magnitude", "structured", 0.5, 0, "post-training")
    for record in (control, run_cell(later, data_root, home / "checkpoints")):
        assert record.outcome is not None, record.message
        again, network = export.repeat(home, record)
        assert again.outcome is not None
        assert again.outcome.test_accuracy == record.outcome.test_accuracy
        assert network.layout == record.outcome.layout
        assert not network.training


def test_files_that_hold_no_network(tmp_path: Path) -> None:
    path = tmp_path / "network.safetensors"
    for write, message in (
        (lambda: path.write_text("nothing"), "cannot be read"),
        (lambda: save_file({"a": torch.zeros(1)}, path), "holds no network"),
        (lambda: save_file({"a": torch.zeros(1)}, path, {"schema": "2"}), "newer program"),
    ):
        write()
        with pytest.raises(BenchError, match=message):
            load_network(path)


def test_a_second_run_that_breaks_is_one_sentence(
    home: Path, made: dict[str, RunRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no scissors")

    monkeypatch.setattr("pipelines.training.cell.remove_units", broken)
    with pytest.raises(BenchError, match=r"does not end \(RuntimeError: no scissors\)"):
        export.repeat(home, made["ann"])
