"""Runs of each kind of network that can be exported, and a project that holds their records."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.boards.params import Params
from pipelines.records.record import RunRecord
from pipelines.records.store import Store
from pipelines.settings.workload import Workload
from pipelines.training.cell import run_cell

#: Kind of network -> workload, method, granularity.
CELLS = {
    "structured": ("digits-snn", "magnitude", "structured"),
    "unstructured": ("digits-snn", "magnitude", "unstructured"),
    "hybrid": ("digits-snn", "dpap", "hybrid"),
    "spatio-temporal": ("digits-snn", "dpap-st", "spatio-temporal"),
    "ann": ("digits-ann", "magnitude", "structured"),
    "residual": ("digits-residual", "magnitude", "structured"),
}


@pytest.fixture(scope="package")
def made(params: Params, tiny: dict[str, Workload], data_root: Path) -> dict[str, RunRecord]:
    """One run of each kind in `CELLS`, of four epochs, in which `dpap-st` silences some steps."""
    longer = {}
    for name, workload in tiny.items():
        recipe = workload.recipe.model_copy(update={"epochs": 4})
        longer[name] = workload.model_copy(update={"recipe": recipe})
    network = longer["digits-snn"].network.model_copy(
        update={"layout": "6C3s2-[5C3-6C3]-[6C3s2-8C3]-GAP-12FC"}
    )
    longer["digits-residual"] = longer["digits-snn"].model_copy(update={"network": network})
    small = params.model_copy(update={"workloads": longer})
    records = {}
    for kind, (workload_name, method, granularity) in CELLS.items():
        spec = small.spec(workload_name, method, granularity, 0.5, 0)
        records[kind] = run_cell(spec, data_root)
    return records


@pytest.fixture
def home(project: Path, data_root: Path, made: dict[str, RunRecord]) -> Path:
    """A project folder with the records of these runs and the digits."""
    (project / "data").symlink_to(data_root)
    for record in made.values():
        Store(project / "results" / "local").write(record)
    return project
