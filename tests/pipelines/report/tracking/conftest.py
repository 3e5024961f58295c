"""Records of two boards, and an empty tracking store."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from pipelines.boards.params import Params, load_params
from pipelines.records.store import board_store
from pipelines.report.tracking.sink import synchronize
from tests.helpers.handmade import unstructured
from tests.helpers.paths import ROOT
from tests.helpers.projects import write_params
from tests.helpers.tracking_stores import Sink

_SMALL = {
    "workloads": ["digits-snn"],
    "baselines": ["dense", "random", "magnitude"],
    "granularities": ["none", "unstructured"],
    "densities": [0.5, 0.25],
    "seeds": [0, 1],
}
_LARGE = _SMALL | {"workloads": ["digits-snn", "digits-ann"], "controls": ["shuffled"]}


@pytest.fixture
def params(project: Path) -> Params:
    """Two boards; each has a folder of records."""
    fields = yaml.safe_load((ROOT / "params.yaml").read_text())
    fields["boards"] = {"small": _SMALL, "large": _LARGE}
    write_params(project, fields)
    return load_params(project)


@pytest.fixture
def root(params: Params, project: Path) -> Path:
    """The records of the first board, without one cell, and one that diverged."""
    store = board_store(project, "small")
    for seed in (0, 1):
        store.write(unstructured(params, "dense", seed, 0.98))
        for density in (0.5, 0.25):
            store.write(unstructured(params, "random", seed, 0.90, density))
        store.write(unstructured(params, "magnitude", seed, 0.94 + seed / 50, 0.5))
    store.write(unstructured(params, "magnitude", 0, 0.0, 0.25, status="diverged"))
    return project


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables, which take longer to make than all that the tests do."""
    made = Sink(tmp_path_factory.mktemp("empty"))
    counts = synchronize([], made.tracker()).counts
    assert counts == {"added": 0, "replaced": 0, "deleted": 0, "unchanged": 0}
    return made.folder / "mlflow.db"


@pytest.fixture
def sink(empty: Path, project: Path) -> Sink:
    """A new one, where `dpap-bench sync` has it."""
    shutil.copy(empty, project)
    return Sink(project)
