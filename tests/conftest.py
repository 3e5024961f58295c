"""Shared fixtures: small data, small specs, no network, one thread."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings

from pipelines import data
from pipelines.boards.params import Params, load_params
from pipelines.settings.workload import Workload
from tests.helpers.paths import ROOT
from tests.helpers.projects import copy_settings

# A busy machine is no fault of an example.
settings.register_profile("busy", deadline=None)
settings.load_profile("busy")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the whole pipeline, the longest of the slow tests."""
    items.sort(key=lambda item: item.path.name != "test_dvc.py")


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def snntorch_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let snnTorch's surrogates, which end in ``.float()``, keep double precision."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)


@pytest.fixture(scope="session")
def params() -> Params:
    """The published params.yaml."""
    return load_params(ROOT)


@pytest.fixture(scope="session")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the digits."""
    root = tmp_path_factory.mktemp("data")
    data.fetch("digits", root)
    return root


@pytest.fixture(scope="session")
def tiny(params: Params) -> dict[str, Workload]:
    """The digits workloads with tiny networks, two epochs, and one of fine-tuning."""
    return {
        name: Workload.model_validate(
            params.workloads[name].model_dump()
            | {"network": params.workloads[name].network.with_widths((6, 8, 12))}
            | {"recipe": params.workloads[name].recipe.model_copy(update={"epochs": 2})}
            | {"fine_tuning": {"epochs": 1, "learning_rate": 0.001}}
        )
        for name in ("digits-snn", "digits-ann")
    }


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with copies of params.yaml and methods.yaml that commands run in."""
    copy_settings(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def triton() -> None:
    pytest.importorskip("triton", reason="Triton is not installed, so its kernels are not tested")


@pytest.fixture(scope="session")
def interpreted(triton: None) -> Iterator[Callable[..., Any]]:
    """Calls a function in a process whose kernels are interpreted."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn) as pool:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TRITON_INTERPRET", "1")
            pool.submit(int).result()  # it starts now, and inherits that
        yield lambda function, *arguments: pool.submit(function, *arguments).result()
