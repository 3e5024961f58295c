"""Whole cells: from a RunSpec to a record, twice the same, whatever happens inside."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from msgspec.structs import replace

import pipelines.methods.registry
from baselines.shared.contract import Pruner, PrunerInfo
from baselines.shared.masks import Masks
from pipelines.audit.comparison import timeless
from pipelines.boards.params import Params, load_params
from pipelines.common.errors import BenchError, InputError
from pipelines.data import load_test
from pipelines.engines.engine import run_cells
from pipelines.records.store import Store
from pipelines.settings.spec import RunSpec
from pipelines.settings.workload import Workload
from pipelines.training import cell as cell_module
from pipelines.training.cell import run_cell, stream


def specs(params: Params, tiny: dict[str, Workload]) -> list[RunSpec]:
    cells = []
    for workload, settings in tiny.items():
        for method, granularity, density in [
            ("dense", "none", 1.0),
            ("random", "unstructured", 0.5),
            ("magnitude", "structured", 0.5),
            ("dpap", "hybrid", 0.5),
            ("dpap", "structured", "emergent"),
        ]:
            cell = params.spec(workload, method, granularity, density, 1)
            cells.append(replace(cell, settings=settings))
    return cells


@pytest.mark.slow
def test_a_pipeline_run_twice_gives_identical_records(
    params: Params, tiny: dict[str, Workload], data_root: Path, tmp_path: Path
) -> None:
    cells = specs(params, tiny)
    serial, processes = Store(tmp_path / "serial"), Store(tmp_path / "processes")
    torch.manual_seed(1)
    first = {r.run_id: r for r in run_cells(cells, data_root, serial, "serial", 1)}
    torch.manual_seed(2)
    again = {r.run_id: r for r in run_cells(cells, data_root, processes, "processes", 2)}
    assert first.keys() == again.keys() == {cell.run_id for cell in cells}
    for run_id, record in first.items():
        assert timeless(record) == timeless(again[run_id]), record.spec.label()
        assert record.status in ("ok", "off-target"), record.message
        assert serial.find(record.spec) == record
    assert not serial.missing(cells)


def test_a_record_tells_the_whole_run(
    params: Params, tiny: dict[str, Workload], data_root: Path
) -> None:
    cell = params.spec("digits-snn", "magnitude", "unstructured", 0.25, 0)
    record = run_cell(replace(cell, settings=tiny["digits-snn"]), data_root)
    assert record.status == "ok"
    assert record.outcome is not None
    assert record.outcome.confusion is not None
    labels = load_test("digits", data_root).labels.bincount().tolist()
    assert [sum(row) for row in record.outcome.confusion] == labels
    right = sum(row[i] for i, row in enumerate(record.outcome.confusion))
    assert right / sum(labels) == record.outcome.test_accuracy
    assert record.spent == {"training": record.budget} == {"training": 2 * 1167}
    assert record.code_digest == record.code_digest_end
    assert record.environment.threads == 1
    assert len(record.curve) == 2
    outcome = record.outcome
    assert outcome is not None
    assert 0 <= outcome.test_accuracy <= 1
    assert outcome.layout == "6C3-MP2-8C3-MP2-12FC"
    assert abs(outcome.cost.density - 0.25) <= 0.005
    assert record.curve[-1].density == outcome.cost.density
    assert outcome.cost.layers["conv1"].effective_acs == 0, "its input is analogue"
    assert outcome.cost.layers["fc1"].effective_macs == 0, "its input is spikes"
    assert outcome.cost.synops == sum(x.effective_acs for x in outcome.cost.layers.values())
    assert outcome.cost.synops < outcome.cost.macs
    energy = 4.6 * outcome.cost.effective_macs + 0.9 * outcome.cost.synops
    assert outcome.cost.energy_nanojoule == pytest.approx(energy / 1000)
    assert set(outcome.cost.latency_milliseconds) == {1, 128}


def test_structured_pruning_shrinks_the_network(
    params: Params, tiny: dict[str, Workload], data_root: Path
) -> None:
    cell = params.spec("digits-ann", "magnitude", "structured", 0.3, 0)
    outcome = run_cell(replace(cell, settings=tiny["digits-ann"]), data_root).outcome
    assert outcome is not None
    assert outcome.layout != "6C3-MP2-8C3-MP2-12FC"
    dense = params.spec("digits-ann", "dense", "none", 1.0, 0)
    whole = run_cell(replace(dense, settings=tiny["digits-ann"]), data_root).outcome
    assert whole is not None
    assert outcome.cost.macs < 0.7 * whole.cost.macs
    assert outcome.cost.parameters < 0.6 * whole.cost.parameters


def test_seeds_are_paired_across_methods_and_streams_differ() -> None:
    draws = {name: stream(3, name).initial_seed() for name in ("network", "batches", "method:a")}
    assert len(set(draws.values())) == 3
    assert stream(3, "network").initial_seed() == draws["network"]
    assert stream(4, "network").initial_seed() != draws["network"]


class Bad(Pruner):
    """A method that misbehaves as its option says."""

    info = PrunerInfo("bad", "Misbehaves.", "none", ("unstructured",))
    how = "raise"

    def masks(self, progress: float) -> Masks | None:
        if self.how == "raise":
            raise ZeroDivisionError("oops")
        if self.how == "nan":
            with torch.no_grad():
                self.network.get_parameter("readout.weight").fill_(torch.nan)
        return None  # "idle": it never prunes


@pytest.mark.parametrize(
    ("how", "status", "message"),
    [
        ("raise", "failed", "ZeroDivisionError at test_cell.py"),
        ("nan", "diverged", "loss is nan"),
        ("idle", "off-target", "density 1.0000 instead of 0.5"),
    ],
)
def test_misbehaviour_becomes_a_row(
    params: Params,
    tiny: dict[str, Workload],
    data_root: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
    status: str,
    message: str,
) -> None:
    monkeypatch.setattr(Bad, "how", how)
    monkeypatch.setattr(cell_module, "check", lambda spec: Bad())
    base = params.spec("digits-ann", "random", "unstructured", 0.5, 0)
    record = run_cell(replace(base, settings=tiny["digits-ann"]), data_root)
    assert record.status == status
    assert message in record.message
    assert (record.outcome is None) == (status != "off-target")


def test_an_overrun_becomes_a_row(
    params: Params, tiny: dict[str, Workload], data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Greedy(Bad):
        def masks(self, progress: float) -> Masks | None:
            meter.charge(10**9 if progress else 0, "saliency")
            return None

    meter = None
    original = cell_module.BudgetMeter

    def spy(budget: Any) -> Any:
        nonlocal meter
        meter = original(budget)
        return meter

    monkeypatch.setattr(cell_module, "BudgetMeter", spy)
    monkeypatch.setattr(cell_module, "check", lambda spec: Greedy())
    base = params.spec("digits-ann", "random", "unstructured", 0.5, 0)
    record = run_cell(replace(base, settings=tiny["digits-ann"]), data_root)
    assert record.status == "over-budget"
    assert "phase 'saliency' asks for" in record.message
    assert record.spent == {"saliency": 0, "training": 64}


def test_a_full_disk_stops_a_sweep_and_keeps_what_was_done(
    params: Params,
    tiny: dict[str, Workload],
    data_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cells = specs(params, tiny)[5:7]
    store = Store(tmp_path)
    runs = run_cells(cells, data_root, store, "serial", 1)
    next(runs)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(BenchError, match="free some space"):
        next(runs)
    assert [r.spec for _, r in store.records()] == cells[:1]


class TestParams:
    """What people write in params.yaml."""

    def write(self, project: Path, old: str, new: str) -> None:
        text = (project / "params.yaml").read_text()
        assert old in text
        (project / "params.yaml").write_text(text.replace(old, new, 1))

    @pytest.mark.parametrize(
        ("old", "new", "reason"),
        [
            ("densities: [0.5", "densities: [0.0", "densities"),
            ("densities: [0.5", "densities: [1.5", "densities"),
            ("epochs: 15", "epochs: many", "epochs"),
            ("epochs: 15", "epoch: 20", "epoch"),
            ("layout: 16C3", "layout: 16X3", "none of nCk"),
            ("boards:", "boards: [", "no YAML"),
        ],
    )
    def test_mistakes_are_one_sentence(
        self, project: Path, old: str, new: str, reason: str
    ) -> None:
        self.write(project, old, new)
        with pytest.raises(InputError, match=reason) as caught:
            load_params(project)
        assert "\n" not in str(caught.value)

    def test_the_board_is_the_whole_grid(self, params: Params) -> None:
        cells = params.cells("quick")
        board = params.board("quick")
        assert len({cell.run_id for cell in cells}) == len(cells)
        # dense; random and magnitude at 3 granularities; grand, admm and dpap at 2.
        each = 2 * (1 + (2 * 3 + 3 * 2) * len(board.densities))
        assert len(cells) == len(board.seeds) * each
        assert all(sum(cell.seed == seed for cell in cells) for seed in board.seeds)

    def test_a_method_that_needs_spikes_is_on_spiking_workloads_alone(self, params: Params) -> None:
        cells = params.cells("embedded", methods=["dpap-st", "sca"])
        assert {c.workload for c in cells} == {"digits-snn"}

    def test_its_twins_are_too(self, params: Params) -> None:
        class Found:
            """A store in which every emergent run reached a density of 0.3."""

            @staticmethod
            def find(spec: RunSpec) -> Any:
                cost = SimpleNamespace(density=0.3)
                return SimpleNamespace(status="ok", outcome=SimpleNamespace(cost=cost))

        twins = params.matched("embedded", cast(Store, Found()))
        assert {c.workload for c in twins if c.method == "sca"} == {"digits-snn"}
        assert {c.workload for c in twins if c.method == "grand"} == {"digits-snn", "digits-ann"}

    def test_the_quick_board_is_part_of_the_embedded_one(self, params: Params) -> None:
        quick, embedded = (
            {cell.run_id for cell in params.cells(name)} for name in ("quick", "embedded")
        )
        assert quick < embedded

    def test_part_of_a_board(self, params: Params) -> None:
        cells = params.cells("embedded", ["digits-ann"], ["dpap"])
        assert {(c.workload, c.method) for c in cells} == {("digits-ann", "dpap")}
        with pytest.raises(InputError, match="unknown method of the board 'rigl'"):
            params.cells("quick", methods=["rigl"])
        with pytest.raises(InputError, match="unknown board 'embeded'; did you mean 'embedded'"):
            params.board("embeded")


def test_registry_refuses_two_methods_of_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    class Entry:
        module, dist = "other", None

        @staticmethod
        def load() -> type[Pruner]:
            return type("Other", (Bad,), {"info": PrunerInfo("dense", "x.", "y", ("none",))})

    monkeypatch.setattr(pipelines.methods.registry, "entry_points", lambda group: [Entry()])
    with pytest.raises(ValueError, match="two methods are named 'dense'"):
        pipelines.methods.registry.methods.__wrapped__()
