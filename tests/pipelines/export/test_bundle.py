"""The bundle of an exported network: weights, NIR graph and README."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipelines.data import load_test
from pipelines.export import nir
from pipelines.export.network_file import load_network
from pipelines.records.record import RunRecord
from tests.pipelines.cli.test_main import call


@pytest.mark.parametrize(
    "kind", ["structured", "unstructured", "hybrid", "spatio-temporal", "ann", "residual"]
)
def test_the_exported_network_is_that_of_the_record(
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
        correct = int((network(split.inputs).argmax(1) == split.labels).sum())
    assert correct / len(split) == record.outcome.test_accuracy
    assert network.layout == record.outcome.layout
    names = record.outcome.cost.layers.keys() - {"readout"}
    weights = [network.get_parameter(f"{name}.weight") for name in names]
    cost = record.outcome.cost
    density = sum(int((weight != 0).sum()) for weight in weights) / cost.prunable
    assert density == pytest.approx(cost.density)
    if kind in ("structured", "residual"):
        assert sum(weight.numel() for weight in weights) / cost.prunable == density
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
        assert graph == (nir.nir is not None)


def test_the_code_in_the_readme_runs(
    home: Path, made: dict[str, RunRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    record = made["hybrid"]
    assert call(monkeypatch, "export", record.run_id, "--to", str(home / "out")) == 0
    _, code, _ = (home / "out" / "README.md").read_text().split("```")
    monkeypatch.chdir(home / "out")
    names: dict[str, torch.Tensor] = {}
    exec(code.removeprefix("python"), names)
    assert names["scores"].shape == (1, 10)


def test_without_the_package_nir_only_the_graph_is_left_out(
    home: Path,
    made: dict[str, RunRecord],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(nir, "nir", None)
    folder = home / "out"
    folder.mkdir()
    (folder / "network.nir").write_text("of another run")
    assert call(monkeypatch, "export", made["structured"].run_id, "--to", str(folder)) == 0
    assert "pip install -c constraints.txt -e '.[export]'" in capsys.readouterr().err
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "network.safetensors"]
