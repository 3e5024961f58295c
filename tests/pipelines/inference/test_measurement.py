"""The command ``dpap-bench measure`` on runs of tiny networks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from msgspec.structs import replace

from pipelines.boards.params import Params
from pipelines.common.errors import BenchError
from pipelines.export.network_file import write_network
from pipelines.inference.measurement import final_network
from pipelines.networks.initial import build_network
from pipelines.records.digest import code_digest
from pipelines.records.store import Store
from pipelines.settings.spec import RunSpec
from pipelines.settings.workload import Workload
from pipelines.training.cell import run_cell
from pipelines.training.cost import connection_sparsity
from tests.helpers.handmade import of_spec
from tests.pipelines.cli.test_main import call


def specs_of(params: Params, tiny: dict[str, Workload]) -> list[RunSpec]:
    """An unpruned cell and a pruned one."""
    small = params.model_copy(update={"workloads": tiny})
    return [
        small.spec("digits-snn", "dense", None, 1.0, 0),
        small.spec("digits-snn", "magnitude", "unstructured", 0.1, 0),
    ]


def test_networks_are_measured_and_records_stay(
    project: Path,
    params: Params,
    tiny: dict[str, Workload],
    data_root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The networks of both runs are there already, from a measurement before."""
    (project / "data").symlink_to(data_root)
    specs, store = specs_of(params, tiny), Store(project / "results" / "local")
    paths = [store.write(of_spec(params, spec)) for spec in specs]
    before = [path.read_bytes() for path in paths]
    folder = project / "results" / "measured"
    for spec in specs:
        network = build_network(spec.settings.network, (1, 8, 8), 10, 0)
        name = f"{spec.run_id}-{code_digest(spec)[:16]}.safetensors"
        write_network(folder / "networks" / name, network, {})
    page = project / "page.md"
    page.write_text("<!-- measured: runs -->\n<!-- end of measured: runs -->\n")
    ids = [spec.run_id for spec in specs]
    assert call(monkeypatch, "measure", *ids, "--rounds", "1", "--update", str(page)) == 0
    shown = capsys.readouterr()
    assert "| magnitude, unstructured, 0.1" in shown.out
    assert shown.out.split("\nEvery turn")[0].strip() in page.read_text()
    assert shown.err.count("network of digits-snn") == 2
    assert [path.read_bytes() for path in paths] == before
    (document,) = json.loads((folder / "runs.json").read_text())
    assert [row["record"]["run_id"] for row in document["rows"]] == ids
    assert all(row["one"]["seconds"][0] > 0 for row in document["rows"])


@pytest.mark.slow
def test_a_run_is_repeated_once(
    project: Path, params: Params, tiny: dict[str, Workload], data_root: Path
) -> None:
    (project / "data").symlink_to(data_root)
    record = run_cell(specs_of(params, tiny)[1], data_root)
    network = final_network(project, record)
    (file,) = (project / "results" / "measured" / "networks").iterdir()
    kept = file.stat().st_mtime_ns
    again = final_network(project, record)
    assert file.stat().st_mtime_ns == kept
    for name, tensor in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)
    assert record.outcome is not None
    assert connection_sparsity(network) == record.outcome.cost.connection_sparsity
    file.unlink()
    forged = replace(record, outcome=replace(record.outcome, test_accuracy=0.01))
    with pytest.raises(BenchError, match="nothing is measured: the record of"):
        final_network(project, forged)


def test_wrong_questions_are_refused(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, sentence in (
        (("--board", "quick", "0123"), "name runs, or a board by --board; not both."),
        ((), "name runs, or a board by --board; not both."),
        (("--board", "quick"), "none of these runs has a record with an outcome"),
    ):
        assert call(monkeypatch, "measure", *arguments) == 2
        assert sentence in capsys.readouterr().err
