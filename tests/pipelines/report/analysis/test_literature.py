"""Published results: the file, its rows beside ours, and the reasons why there are none."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from pipelines.boards.board import Board
from pipelines.boards.params import Params
from pipelines.common.errors import BenchError
from pipelines.methods.catalogue import infos
from pipelines.records.store import Store
from pipelines.report.analysis.literature import LiteratureRow, literature
from pipelines.report.analysis.published_results import Published, PublishedResult, load_published
from pipelines.report.analysis.rows import make_rows
from pipelines.report.formats.markdown import table_markdown
from pipelines.report.tables.literature import literature_table
from pipelines.settings.network import NAMED
from pipelines.settings.workload import Workload
from tests.helpers.handmade import record
from tests.helpers.paths import ROOT
from tests.pipelines.cli.test_main import call

FILE = ROOT / "results" / "published.yaml"


@pytest.fixture(scope="module")
def published() -> Published:
    return load_published(FILE)


def result(**changes: Any) -> PublishedResult:
    fields: dict[str, Any] = {
        "method": "DPAP",
        "citation": "Han et al. 2025",
        "year": 2025,
        "dataset": "MNIST",
        "network": "2Conv2FC",
        "kind": "snn",
        "granularity": "hybrid",
        "dense_accuracy": 99.46,
        "accuracy": 99.59,
        "change": 0.13,
        "pruned_percent": 61.25,
        "source": "Table III",
        "confidence": "high",
    }
    return PublishedResult.model_validate(fields | changes)


def one_of(params: Params, *results: PublishedResult, rows: Any = ()) -> list[LiteratureRow]:
    names = {"DPAP": {"here": ("dpap", "dpap-st"), "counting": "not stated"}}
    names["Deep R"] = {"here": ("deep_r",)}
    fields = Published.model_validate({"methods": names})
    everything = fields.model_copy(update={"results": results})
    return literature(everything, params, "embedded", rows)


@pytest.fixture(scope="module")
def paper(params: Params) -> Params:
    """Digits, and a workload of the paper on a board of its own."""
    fields = params.workloads["digits-snn"].model_dump()
    network = fields["network"] | {"layout": "2Conv2FC"}
    workload = Workload.model_validate(fields | {"data": "mnist", "network": network})
    board = Board(workloads=("mnist-snn",), baselines=("dense",), dpap=("dpap",), seeds=(0,))
    return params.model_copy(
        update={
            "workloads": {"digits-snn": params.workloads["digits-snn"], "mnist-snn": workload},
            "boards": {"embedded": params.boards["embedded"], "paper": board},
        }
    )


def test_the_file_holds_what_sources_print(published: Published) -> None:
    assert len(published.results) > 200
    ours = [r for r in published.results if r.method == "DPAP"]
    assert {r.arxiv for r in ours} == {"2211.12714"}
    table = [r for r in ours if r.source == "TPAMI article, Table II" and r.dataset == "N-MNIST"]
    assert [(r.pruned_percent, r.accuracy) for r in table] == [
        (50.41, 99.55),
        (63.95, 99.59),
        (74.66, 99.56),
        (62.01, 99.53),
        (70.63, 99.55),
    ]
    assert [r.granularity for r in table] == ["hybrid"] * 3 + ["spatio-temporal"] * 2


def test_names_are_those_of_the_suite(published: Published) -> None:
    printed = {r.method for r in published.results}
    for name, method in published.methods.items():
        assert name in printed, f"nobody prints '{name}'"
        assert set(method.here) <= infos().keys()
    cited = {
        r.arxiv: name
        for name, one in published.methods.items()
        for r in published.results
        if r.method == name and r.arxiv and len(one.here) == 1
    }
    assert published.methods[cited["1711.05136"]].here == ("deep_r",)


def test_every_result_has_a_row_or_a_reason(published: Published, params: Params) -> None:
    for board in params.boards:
        found = literature(published, params, board, [])
        assert len(found) == len(published.results)
        assert all(row.reason and row.reproduced is None for row in found)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"method": "ThiNet"}, "method not in this suite"),
        ({"method": "Deep R"}, "deep_r: not hybrid here"),
        ({"dataset": "SVHN"}, "data set not in this suite: SVHN"),
        ({"network": None}, "network not stated"),
        ({"network": "2FC"}, "network not in this suite: 2FC"),
        ({"dataset": "CIFAR-100"}, "no workload on cifar-100; dpap-bench fetch cifar-100 gets it"),
        ({"network": "6Conv2FC"}, "no workload with this network on mnist"),
        ({"kind": "ann"}, "no workload with this network on mnist"),
        ({}, "not on this board; boards that have it: paper"),
        (
            {"dataset": "DVS-Gesture"},
            "no workload on dvs-gesture; dpap-bench fetch dvs-gesture gets it",
        ),
        ({"granularity": "spatio-temporal"}, "not on this board; no board has it yet"),
    ],
)
def test_the_reason_comes_from_what_there_is(
    paper: Params, changes: dict[str, Any], reason: str
) -> None:
    (row,) = one_of(paper, result(**changes))
    assert row.reason == reason


def test_our_row_of_the_nearest_density_stands_beside(paper: Params) -> None:
    made = [record(paper, "dense", s, 0.99, workload="mnist-snn") for s in (0, 1)]
    for density, accuracy in ((0.5, 0.985), (0.4, 0.98), (0.1, 0.9)):
        for seed in (0, 1):
            where = {"workload": "mnist-snn", "granularity": "hybrid"}
            made.append(record(paper, "dpap", seed, accuracy, density, **where))
    rows = make_rows(made)
    (found,) = one_of(paper, result(), rows=rows)
    assert found.reason == ""
    assert found.counting == "not stated"
    ours = found.reproduced
    assert ours is not None
    assert (ours.workload, ours.method, ours.density) == ("mnist-snn", "dpap", 0.4)
    assert ours.drop is not None
    assert ours.drop.mean == pytest.approx(0.01)
    text = table_markdown(literature_table("paper", [found]))
    assert (
        "98.00 ± 0.00 % at density 0.400, drop +1.00 to +1.00 (dpap on mnist-snn, 2 seeds)" in text
    )
    assert "Han et al. 2025; Table III" in text
    (other,) = one_of(paper, result(granularity="spatio-temporal"), rows=rows)
    assert other.reproduced is None, "granularities are never mixed"

    failed = make_rows([record(paper, "dpap", 0, 0, 0.4, "diverged", **where)])
    shown = literature(
        Published(methods={"DPAP": {"here": ["dpap"]}}, results=(result(),)), paper, "paper", failed
    )
    assert shown[0].reason == "no run of it is ok on this board"


@pytest.mark.parametrize(
    ("network", "layout"),
    [
        ("2Conv2FC", "15C3-AP2-40C3-AP2-300FC"),
        ("2Conv2FC 20C5-MP2-50C5-MP2-500FC-10FC", "20C5-MP2-50C5-MP2-500FC"),
        ("ResNet19", None),
        (None, None),
    ],
)
def test_networks_are_read_as_layouts(network: str | None, layout: str | None) -> None:
    assert result(network=network).layout == layout


def test_a_file_that_is_not_valid_is_named(tmp_path: Path) -> None:
    path = tmp_path / "published.yaml"
    assert load_published(path) == Published()
    path.write_text("results: [")
    with pytest.raises(BenchError, match="is not valid YAML"):
        load_published(path)
    path.write_text("results: [{method: DPAP}]")
    with pytest.raises(BenchError, match=r"results\.0\.citation: Field required"):
        load_published(path)
    with pytest.raises(ValueError, match=r"99\.59 - 99\.46 is not 1\.0"):
        result(change=1.0)


def test_the_command_prints_the_literature(
    project: Path,
    params: Params,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (project / "results").mkdir()
    shutil.copy(FILE, project / "results")
    text = (project / "params.yaml").read_text()
    board = "boards:\n  one: {workloads: [digits-snn], baselines: [dense], seeds: [0]}\n"
    (project / "params.yaml").write_text(text.replace("boards:\n", board, 1))
    Store(project / "results" / "boards" / "one" / "records").write(
        record(params, "dense", 0, 0.98)
    )
    assert call(monkeypatch, "report", "--board", "one", "--literature") == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0].startswith("203 results")
    assert "method not in this suite" in out
    assert not (project / "results" / "boards" / "one" / "leaderboard.html").exists()


def test_a_cut_of_a_data_set_counts_as_the_data_set(params: Params, published: Published) -> None:
    gestures = [r for r in published.results if r.dataset == "DVS-Gesture" and r.method == "DPAP"]
    rows = literature(
        Published(results=tuple(gestures), methods=published.methods), params, "quick", []
    )
    assert rows
    for row in rows:
        assert row.reason == "not on this board; boards that have it: paper"


def test_residual_networks_are_known_by_their_names_in_print(params: Params) -> None:
    for dataset, kind, network, workload in (
        ("ImageNet", "snn", "ResNet-18", "imagenet-snn"),
        ("ImageNet", "ann", "ResNet-50", "imagenet-ann"),
    ):
        one = result(dataset=dataset, kind=kind, network=network)
        assert one.layout == params.workloads[workload].network.layout
    assert result(dataset="CIFAR-10", network="ResNet18").layout == NAMED["ResNet18-CIFAR"]
    assert result(dataset="ImageNet", network="SEW-ResNet18").layout is None
