"""Runs on another device than the CPU, tested on a fake device: tests/helpers/fake_device.py."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from msgspec.structs import replace
from torch import nn

from baselines.shared.contract import Pruner, PrunerInfo
from baselines.shared.masks import Masks
from dpap import DPAP, attach
from pipelines.audit.comparison import timeless
from pipelines.boards.params import Params, load_params
from pipelines.common.errors import InputError
from pipelines.methods.registry import methods
from pipelines.settings.augmentation import Augmentation
from pipelines.settings.network import Execution
from pipelines.settings.spec import RunSpec
from pipelines.settings.workload import Workload
from pipelines.training import cell
from pipelines.training.trainer import Trainer
from tests.helpers.fake_device import NAME, POSSIBLE, install, waits
from tests.helpers.paths import ROOT

CELLS = [(name, place) for name, kind in methods().items() for place in kind.info.granularities]
Call = Callable[..., Any]


def start_process() -> None:
    torch.set_num_threads(1)
    install().__enter__()


@pytest.fixture(scope="module")
def on_fake_device() -> Iterator[Call]:
    """A function that calls others in a process that has the fake device."""
    if not POSSIBLE:
        pytest.skip("this version of torch cannot register a device from Python")
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, initializer=start_process) as pool:
        yield lambda function, *arguments: pool.submit(function, *arguments).result()


def run(spec: RunSpec, data_root: Path, device: str, kind: type[Pruner] | None = None) -> Any:
    """The fields of the record of a cell, without timings and device."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cell, "find_device", lambda _: torch.device(device))
        patch.setattr(cell, "LATENCY_BATCHES", (1,))
        if kind is not None:
            patch.setattr(cell, "check", lambda _: kind())
        record = cell.run_cell(spec, data_root)
    fields = timeless(record)
    assert fields["environment"].pop("device") == device
    return fields


def short(workload: Workload) -> Workload:
    """A short workload, with a plan whose results are the same on every device."""
    recipe = workload.recipe.model_copy(update={"epochs": 1, "batch_size": 128})
    network = workload.network.model_copy(update={"time_steps": 2})
    execution = Execution(plan="folded")
    changes = {"recipe": recipe, "network": network, "execution": execution}
    return workload.model_copy(update=changes)


#: Cells that are tested each time, one for each way to prune; `make slow` tests all others.
OFTEN = {
    ("dense", "none"),
    ("magnitude", "unstructured"),
    ("dpap", "structured"),
    ("lth", "unstructured"),
}


@pytest.mark.parametrize(
    ("name", "granularity"),
    [pytest.param(*c, marks=() if c in OFTEN else pytest.mark.slow) for c in CELLS],
)
def test_a_cell_on_another_device_gives_the_same_record(
    on_fake_device: Call,
    params: Params,
    tiny: dict[str, Workload],
    data_root: Path,
    name: str,
    granularity: str,
) -> None:
    """No operation of the run, from tracing to cost, may mix tensors of two devices."""
    density = 1.0 if granularity == "none" else 0.4
    spec = params.spec("digits-snn", name, granularity, density, 1)
    spec = replace(spec, settings=short(tiny["digits-snn"]))
    there = on_fake_device(run, spec, data_root, NAME)
    assert there["status"] in ("ok", "off-target"), there["message"]
    assert there == run(spec, data_root, "cpu")


def test_augmentation_on_another_device_gives_the_same_record(
    on_fake_device: Call, params: Params, tiny: dict[str, Workload], data_root: Path
) -> None:
    spec = params.spec("digits-snn", "dense", None, 1.0, 1)
    settings = short(tiny["digits-snn"])
    asked = Augmentation(crop=1, flip=True, rotation=5, erasing=0.5)
    recipe = settings.recipe.model_copy(update={"augmentation": asked, "loss": "mse"})
    settings = settings.model_copy(update={"recipe": recipe})
    spec = replace(spec, settings=settings)
    there = on_fake_device(run, spec, data_root, NAME)
    assert there["status"] == "ok", there["message"]
    assert there == run(spec, data_root, "cpu")


class NanOnce(Pruner):
    """Sets weights to NaN once, long before the epoch ends."""

    info = PrunerInfo("nan", "Sets weights to NaN.", "none", ("unstructured",))

    def due(self, progress: float) -> bool:
        return progress < 0.1

    def masks(self, progress: float) -> Masks | None:
        with torch.no_grad():
            self.network.get_parameter("readout.weight").fill_(torch.nan)
        return None


class NanAlways(NanOnce):
    """Sets weights to NaN after every step."""

    def due(self, progress: float) -> bool:
        return True


@pytest.mark.parametrize("kind", [NanOnce, NanAlways])
def test_a_nan_loss_is_found_on_a_device_that_does_not_check_every_step(
    on_fake_device: Call,
    params: Params,
    tiny: dict[str, Workload],
    data_root: Path,
    kind: type[Pruner],
) -> None:
    spec = params.spec("digits-ann", "magnitude", "unstructured", 0.5, 0)
    spec = replace(spec, settings=tiny["digits-ann"])
    record = on_fake_device(run, spec, data_root, NAME, kind)
    assert record["status"] == "diverged"
    assert "loss is nan" in record["message"]


def training(spec: RunSpec, data_root: Path) -> tuple[list[int], set[str], int]:
    """Numbers of waits in each epoch, devices of the optimizer's step counts, number of shrinks."""
    counts, trainers = [], []
    epoch = Trainer._epoch

    def counted(trainer: Trainer) -> float:
        before = waits.total()
        loss = epoch(trainer)
        counts.append(waits.total() - before)
        trainers.append(trainer)
        return loss

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_epoch", counted)
        run(spec, data_root, NAME)
    states = trainers[-1].live.optimizer.state.values()
    return counts, {s["step"].device.type for s in states}, len(trainers[-1].live.shrunk_at)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dense", "magnitude"])
def test_training_steps_never_wait_for_the_device(
    on_fake_device: Call, params: Params, tiny: dict[str, Workload], data_root: Path, name: str
) -> None:
    place = ("none", 1.0) if name == "dense" else ("structured", 0.3)
    settings = tiny["digits-snn"].model_copy(update={"execution": Execution(plan="folded")})
    spec = replace(params.spec("digits-snn", name, *place, 0), settings=settings)
    counts, steps_on, shrinks = on_fake_device(training, spec, data_root)
    assert steps_on == {"cpu"}, "Adam must read its step counts without waiting"
    if name == "dense":
        assert counts == [1, 1], "one wait for the mean loss of each epoch"
    else:
        assert shrinks > 0


def prune_own_loop(device: str) -> list[torch.Tensor]:
    """Prune with DPAP in a plain training loop on a device; return the weights, on the CPU."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 9), nn.ReLU(), nn.Linear(9, 3)
    )
    x, labels = torch.randn(20, 6, 1, 4, 4), torch.randint(3, (20, 6))
    network, x, labels = network.to(device), x.to(device), labels.to(device)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    handle = attach(
        network,
        DPAP(updates=10, first_update=1),
        example=x[0],
        readout="5",
        density=0.3,
        granularity="hybrid",
    )
    for step in range(20):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x[step]), labels[step]).backward()
        optimizer.step()
        handle.update((step + 1) / 20, optimizer)
    assert handle.density == pytest.approx(0.3, abs=0.01)
    # No `compact`: parameters of the fake device cannot change their shapes.
    return [p.detach().cpu() for p in network.parameters()]


def weights_on_fake_device() -> list[list[float]]:
    return [p.flatten().tolist() for p in prune_own_loop(NAME)]


def test_dpap_in_a_plain_training_loop(on_fake_device: Call) -> None:
    expected = [p.flatten().tolist() for p in prune_own_loop("cpu")]
    assert on_fake_device(weights_on_fake_device) == expected


def mix_devices() -> None:
    torch.ones(2, device=NAME) + torch.ones(2)


def test_the_fake_device_refuses_tensors_of_two_devices(on_fake_device: Call) -> None:
    with pytest.raises(RuntimeError, match="two devices"):
        on_fake_device(mix_devices)


def test_the_device_is_part_of_the_run_id(params: Params) -> None:
    assert params.compute.device == "cpu"
    cell_here = params.spec("digits-snn", "dense", None, 1.0, 0)
    cell_there = load_params(ROOT, "cuda").spec("digits-snn", "dense", None, 1.0, 0)
    assert (cell_here.device, cell_there.device) == ("cpu", "cuda")
    assert cell_here.run_id != cell_there.run_id
    assert "device" not in cell_here.canonical()


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_the_gpu_benchmark_asks_for_a_gpu() -> None:
    command = [sys.executable, "tests/perf/gpu.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "finds no CUDA GPU here" in done.stderr
    assert done.stderr.count("\n") == 1


def test_cuda_is_refused_without_a_gpu(
    params: Params, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    spec = params.spec("digits-snn", "dense", None, 1.0, 0)
    with pytest.raises(InputError, match="finds no CUDA GPU here; run on the CPU"):
        cell.run_cell(replace(spec, device="cuda"), data_root)
