"""Shared fixtures: small data sets, small workloads, a project folder, interpreted kernels.

Tests need no internet connection, and torch computes in one thread.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings

from pipelines import data
from pipelines.boards.params import Params, load_params
from pipelines.data.images import Images, Part
from pipelines.data.sets import cifar
from pipelines.settings.workload import Workload
from tests.helpers.paths import ROOT
from tests.helpers.projects import copy_settings

# Without a deadline, hypothesis does not fail an example because the machine is busy.
settings.register_profile("busy", deadline=None)
settings.load_profile("busy")


#: Files whose tests take longest: the whole pipeline, and the commands of all documents.
LONGEST = ("test_dvc.py", "test_document_commands.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest tests first, so that no process is left alone with them."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Let torch use one CPU thread, as runs do by default."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _no_tracking_server() -> None:
    """Let nothing that a test starts write to the tracking server of the user."""
    os.environ.pop("MLFLOW_TRACKING_URI", None)


@pytest.fixture
def snntorch_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep float64 in snnTorch's surrogates, which convert their result by ``.float()``."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)


@pytest.fixture(scope="session")
def params() -> Params:
    """The params.yaml of the repository."""
    return load_params(ROOT)


@pytest.fixture(scope="session")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the digits data set."""
    root = tmp_path_factory.mktemp("data")
    data.fetch("digits", root)
    return root


@pytest.fixture(scope="session")
def tiny(params: Params) -> dict[str, Workload]:
    """The digits workloads with tiny networks, two epochs, and one epoch of fine-tuning."""
    workloads = {}
    for name in ("digits-snn", "digits-ann"):
        workload = params.workloads[name]
        changes = {
            "network": workload.network.with_widths((6, 8, 12)),
            "recipe": workload.recipe.model_copy(update={"epochs": 2}),
            "fine_tuning": {"epochs": 1, "learning_rate": 0.001},
        }
        workloads[name] = Workload.model_validate(workload.model_dump() | changes)
    return workloads


@pytest.fixture
def small_cifar(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A data folder whose CIFAR-10 has 100 training, 20 validation and 20 test images of noise."""
    generator = np.random.default_rng(0)
    parts = {}
    for part, size in (("training", 120), ("test", 20)):
        pixels = generator.integers(0, 256, (size, 3, 32, 32), dtype=np.uint8)
        parts[part] = Images(pixels, np.arange(size, dtype=np.int64) % 10)

    def read(_: object, folder: Path, part: Part) -> Images:
        return parts[part]

    monkeypatch.setattr(cifar.CifarArchive, "read", read)
    monkeypatch.setattr(cifar, "CIFAR_10", replace(cifar.CIFAR_10, validation=20))
    return tmp_path


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with copies of params.yaml and methods.yaml that commands run in."""
    copy_settings(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def triton() -> None:
    """Skip the test if Triton is not installed."""
    pytest.importorskip("triton", reason="Triton is not installed, so its kernels are not tested")


@pytest.fixture(scope="session")
def interpreted(triton: None) -> Iterator[Callable[..., Any]]:
    """A function that calls others in a process where Triton interprets its kernels on the CPU."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn) as pool:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TRITON_INTERPRET", "1")
            pool.submit(int).result()  # starts the process, which inherits the variable
        yield lambda function, *arguments: pool.submit(function, *arguments).result()
