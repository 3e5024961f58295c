"""Records of two honest runs, and a sealed folder of them that tests tamper with."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.audit.seal import seal_folder
from pipelines.boards.params import Params
from pipelines.records.record import RunRecord
from pipelines.records.store import Store
from pipelines.training.cell import run_cell


@pytest.fixture(scope="package")
def made(params: Params, data_root: Path) -> list[RunRecord]:
    """Records of two runs of one epoch that are ok, with seeds 0 and 1."""
    workload = params.workloads["digits-ann"]
    recipe = workload.recipe.model_copy(update={"epochs": 1})
    short = workload.model_copy(update={"recipe": recipe})
    params = params.model_copy(update={"workloads": params.workloads | {"digits-ann": short}})
    cells = [params.spec("digits-ann", "magnitude", "unstructured", 0.5, seed) for seed in (0, 1)]
    records = [run_cell(cell, data_root) for cell in cells]
    assert [record.status for record in records] == ["ok", "ok"], records[0].message
    return records


@pytest.fixture
def folder(made: list[RunRecord], tmp_path: Path) -> Path:
    """A sealed folder with both records."""
    store = Store(tmp_path / "records")
    for record in made:
        store.write(record)
    seal_folder(store.root)
    return store.root
