"""The boards of the paper: their networks, and an epoch of every workload on small files.

The small files have the formats of the real ones, and few samples. The networks have the depth of
the paper's networks, but are narrow. The commands are those of `pipelines/stages/paper/dvc.yaml`.
"""

from __future__ import annotations

import gzip
import hashlib
import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.boards.params import Params
from pipelines.cli.main import main
from pipelines.data import SOURCES
from pipelines.data.download import RemoteFile
from pipelines.data.sets import cifar, dvs_gesture, imagenet, mnist, n_mnist
from pipelines.networks.initial import build_network
from pipelines.records.files import read_record
from pipelines.settings.layout import parse_layout, with_widths
from pipelines.settings.workload import Workload
from tests.helpers.event_files import write_n_mnist, write_trials
from tests.helpers.image_files import cifar_members, drawn, idx, packed, save, sha
from tests.helpers.paths import ROOT
from tests.helpers.projects import write_params

PIPELINE: dict[str, Any] = yaml.safe_load((ROOT / "pipelines/stages/paper/dvc.yaml").read_text())
BOARDS = {"paper": "", "paper-imagenet": "-imagenet"}
Patch = pytest.MonkeyPatch


#: Workload -> parameters of the dense network in units of 100,000, from Fig. 2(c) of the paper.
FIGURE = {
    "mnist-snn": 6.0,
    "mnist-ann": 12.5,
    "n-mnist-snn": 7.8,
    "dvs-gesture-snn": 123.0,
    "cifar10-ann": 1657.0,
}


@pytest.mark.parametrize("name", FIGURE)
def test_networks_are_as_large_as_the_paper_shows(params: Params, name: str) -> None:
    settings, size = params.workloads[name], SOURCES[params.workloads[name].data].size
    network = build_network(settings.network, size.shape, size.classes, 0)
    total = sum(p.numel() for p in network.parameters())
    assert total / 1e5 == pytest.approx(FIGURE[name], rel=0.01)


def test_densities_are_one_minus_the_published_pruning_rates(params: Params) -> None:
    published = {
        "mnist-snn": {61.25, 84.22},
        "mnist-ann": {56.00},
        "n-mnist-snn": {50.41, 63.95, 74.66, 62.01, 70.63},
        "dvs-gesture-snn": {64.03, 66.98, 81.45, 57.67, 81.72},
        "cifar10-snn": {33.46, 50.80},
        "cifar10-ann": {41.54},
        "imagenet-snn": {22.69, 37.76, 51.71},
        "imagenet-ann": {59.63},
    }
    found = {
        name: {round(100 * (1 - density), 2) for density in targets if density != "emergent"}
        for board in BOARDS
        for name, targets in params.board(board).workload_densities.items()
    }
    assert found == published


def test_the_recipe_of_cifar_is_the_released_one(params: Params) -> None:
    recipe = params.workloads["cifar10-snn"].recipe
    assert recipe.learning_rate == 5e-3 * recipe.batch_size / 1024
    assert round(recipe.warmup * recipe.epochs, 2) == 5
    released = params.workloads["cifar10-snn-released"]
    assert released.normalization == "released"
    assert released.model_copy(update={"normalization": "data"}) == params.workloads["cifar10-snn"]


def test_every_workload_is_in_the_documents(params: Params) -> None:
    text = (ROOT / "docs" / "paper.md").read_text()
    for board in BOARDS:
        for name, targets in params.board(board).workload_densities.items():
            row = next(line for line in text.splitlines() if line.startswith(f"| `{name}`"))
            assert ", ".join(f"{density:g}" for density in targets) in row


def write_mnist(data: Path, patch: Patch) -> None:
    contents = {}
    for part, number in (("train", 60), ("t10k", 20)):
        images, labels = idx(*drawn("mnist", number, seed=number))
        contents |= {f"{part}-images-idx3-ubyte": images, f"{part}-labels-idx1-ubyte": labels}
    files = {name: sha(content) for name, content in contents.items()}
    patch.setattr(mnist, "MNIST", replace(mnist.MNIST, validation=20, files=files))
    folder = data / "mnist"
    folder.mkdir(parents=True)
    for name, content in contents.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(content))


def write_cifar(data: Path, patch: Patch) -> None:
    archive = packed(cifar_members("cifar-10"))
    remote = replace(cifar.CIFAR_10.archive, checksum=f"sha256:{sha(archive)}")
    patch.setattr(cifar, "CIFAR_10", replace(cifar.CIFAR_10, validation=20, archive=remote))
    (data / "cifar-10").mkdir(parents=True)
    (data / "cifar-10" / remote.name).write_bytes(archive)


def write_n_mnist_archives(data: Path, patch: Patch) -> None:
    folder, counts = data / "n-mnist", {}
    folder.mkdir(parents=True)
    for part, number in (("TRAIN", 30), ("TEST", 20)):
        name = getattr(n_mnist, part).name
        write_n_mnist(folder / name, number)
        md5 = hashlib.md5((folder / name).read_bytes()).hexdigest()
        patch.setattr(n_mnist, part, RemoteFile(name, f"md5:{md5}"))
        counts[name] = number
    patch.setattr(n_mnist, "COUNTS", counts)
    patch.setattr(n_mnist, "VALIDATION", 10)


def write_gestures(data: Path, patch: Patch) -> None:
    made = replace(dvs_gesture.REDUCED, training=36, test=24, validation=12, kept=22)
    patch.setattr(dvs_gesture, "REDUCED", made)
    write_trials(data / made.home / "trials" / "DvsGesture")
    (data / made.name).mkdir()


def write_imagenet(data: Path, patch: Patch) -> None:
    few = {"classes": 3, "training": 18, "test": 6, "validation": 6}
    patch.setattr(imagenet, "IMAGENET", replace(imagenet.IMAGENET, **few))
    for label, name in enumerate(("n01440764", "n01443537", "n02084071")):
        for i in range(6):
            save(data / "imagenet" / "train" / name / f"{name}_{i}.JPEG", 10 * (6 * label + i))
        for i in range(2):
            number = 2 * label + i + 1
            place = data / "imagenet" / "val" / name / f"ILSVRC2012_val_{number:08d}.JPEG"
            save(place, 30 * number)


#: Data set -> the function that writes its small files and changes its checksums and sizes.
WRITERS: dict[str, Callable[[Path, Patch], None]] = {
    "mnist": write_mnist,
    "cifar-10": write_cifar,
    "n-mnist": write_n_mnist_archives,
    "dvs-gesture-280": write_gestures,
    "imagenet": write_imagenet,
}


def shrink(project: Path) -> None:
    """Set one epoch, one seed, few steps and methods, narrow networks and small sensors."""
    path = project / "params.yaml"
    fields = yaml.safe_load(path.read_text())
    for name in BOARDS:
        board = fields["boards"][name]
        board |= {"seeds": [0], "baselines": ["dense"], "emergent": False}
        board["dpap"] = [method for method in board["dpap"] if ":" not in method]
        board["granularities"] = ["none", "hybrid", "spatio-temporal"]
        for workload in board["workloads"]:
            board["workload_densities"][workload] = board["workload_densities"][workload][-1:]
            settings = fields["workloads"][workload]
            settings["recipe"] = settings["recipe"] | {"epochs": 1, "batch_size": 16}
            spec = Workload.model_validate(settings).network
            sizes = [t.size for t in parse_layout(spec.layout) if t.kind in ("conv", "fc")]
            # Not fewer than 16: on CPUs, PyTorch 2.13 crashes in the backward pass of a 1 x 1
            # convolution of stride 2 whose input has fewer channels of 56 x 56, channels last.
            narrow = with_widths(spec.layout, [max(16, size // 16) for size in sizes])
            few = {"layout": narrow, "time_steps": min(spec.time_steps, 4)}
            settings["network"] = settings["network"] | few
    fields["workloads"]["dvs-gesture-snn"]["frames"]["scale"] = 8
    write_params(path.parent, fields)


def run(command: str, patch: Patch) -> None:
    patch.setattr(sys, "argv", shlex.split(command))
    with pytest.raises(SystemExit) as stopped:
        main()
    assert not stopped.value.code, command


@pytest.mark.slow
@pytest.mark.parametrize("board", BOARDS)
def test_every_stage_runs_an_epoch_on_small_files(
    board: str, params: Params, project: Path, monkeypatch: Patch
) -> None:
    shrink(project)
    names = params.board(board).workloads
    for data in dict.fromkeys(params.workloads[name].data for name in names):
        WRITERS[data](project / "data", monkeypatch)
    stage = PIPELINE["stages"][f"cells{BOARDS[board]}"]
    report = PIPELINE["stages"]["report"]
    for name in names:
        command = stage["cmd"].replace("${item.workload}", name).replace("${device}", "cpu")
        run(f"{command} --engine serial", monkeypatch)
    command = report["cmd"].replace("${item.board}", board).replace("${device}", "cpu")
    run(command, monkeypatch)
    page = project / "results" / "boards" / board / "leaderboard.md"
    records = [read_record(path) for path in (project / "results").rglob("*/*/*/*.json")]
    assert {record.spec.workload for record in records} == set(names)
    for record in records:
        assert record.status in ("ok", "off-target"), record.message
    for name in names:
        assert name in page.read_text()
        own = [record for record in records if record.spec.workload == name]
        assert {"dense", "dpap"} <= {record.spec.method for record in own}
        assert all(record.spent["training"] == record.budget for record in own)
