"""The file of a finished network: its metadata, and files that cannot be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from pipelines.common.errors import BenchError
from pipelines.export.network_file import STEPS, load_network
from pipelines.records.record import RunRecord
from tests.pipelines.cli.test_main import call


def test_the_metadata_name_the_run_and_the_network(
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


def test_files_without_an_exported_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "network.safetensors"
    for write, message in (
        (lambda: path.write_text("nothing"), "cannot be read"),
        (lambda: save_file({"a": torch.zeros(1)}, path), "holds no network"),
        (lambda: save_file({"a": torch.zeros(1)}, path, {"schema": "2"}), "newer program"),
    ):
        write()
        with pytest.raises(BenchError, match=message):
            load_network(path)
