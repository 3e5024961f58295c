"""Whole cells: from a RunSpec to a record, also if the method fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from msgspec.structs import replace

import pipelines.methods.registry
from baselines.shared.contract import Pruner, PrunerInfo
from baselines.shared.masks import Masks
from pipelines.audit.comparison import timeless
from pipelines.boards.params import Params
from pipelines.data import load_test
from pipelines.records.correct import correct_samples
from pipelines.records.outcome import EpochPoint
from pipelines.settings.workload import Workload
from pipelines.training import cell as cell_module
from pipelines.training import machine, trainer
from pipelines.training.cell import run_cell, stream


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
    assert record.outcome.correct is not None
    assert correct_samples(record.outcome.correct).sum() == right
    assert record.spent == {"training": record.budget} == {"training": 2 * 1167}
    assert record.code_digest == record.code_digest_end
    assert record.environment.threads == 1
    assert len(record.curve) == 2
    outcome = record.outcome
    assert outcome is not None
    assert 0 <= outcome.test_accuracy <= 1
    assert outcome.layout == "6C3-MP2-8C3-MP2-12FC"
    assert abs(outcome.cost.density - 0.25) <= 0.005
    assert record.curve[-1].density == pytest.approx(outcome.cost.density)
    assert outcome.cost.layers["conv1"].effective_acs == 0, "its input is analogue"
    assert outcome.cost.layers["fc1"].effective_macs == 0, "its input is spikes"
    assert outcome.cost.synops == sum(x.effective_acs for x in outcome.cost.layers.values())
    assert outcome.cost.synops < outcome.cost.macs
    energy = 4.6 * outcome.cost.effective_macs + 0.9 * outcome.cost.synops
    assert outcome.cost.energy_nanojoule == pytest.approx(energy / 1000)
    assert set(outcome.cost.latency_milliseconds) == {1, 128}


def test_a_listener_gets_each_epoch_while_the_clock_stands_still(
    params: Params, tiny: dict[str, Workload], data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = 0.0
    heard = []

    def listen(point: EpochPoint) -> None:
        nonlocal late
        heard.append(point)
        late += 1e6  # the listener takes days

    cell = params.spec("digits-snn", "dpap", "hybrid", 0.5, 0)
    cell = replace(cell, settings=tiny["digits-snn"])
    alone = run_cell(cell, data_root)
    monkeypatch.setattr(trainer, "clock", lambda device: late + machine.clock(device))
    record = run_cell(cell, data_root, on_epoch=listen)
    assert heard == record.curve
    assert len(heard) == 2
    assert record.train_seconds < 1e6
    assert timeless(record) == timeless(alone)


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


def test_a_plug_in_with_the_name_of_another_method_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Entry:
        module, dist, value = "other", None, "other:Other"

        @staticmethod
        def load() -> type[Pruner]:
            return type("Other", (Bad,), {"info": PrunerInfo("dense", "x.", "y", ("none",))})

    monkeypatch.setattr(pipelines.methods.registry, "entry_points", lambda group: [Entry()])
    found = pipelines.methods.registry.methods.__wrapped__()
    assert found["dense"].__module__ == "baselines.dense"
    assert "plug-in other:Other is left out" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("granularity", ["structured", "unstructured"])
def test_a_run_ends_near_its_target_synops(
    params: Params, tiny: dict[str, Workload], data_root: Path, granularity: str
) -> None:
    recipe = tiny["digits-snn"].recipe.model_copy(update={"epochs": 6})
    settings = tiny["digits-snn"].model_copy(update={"recipe": recipe})

    def synops(*where: Any) -> float:
        record = run_cell(replace(params.spec(*where), settings=settings), data_root)
        assert record.outcome is not None
        assert record.status == "ok", record.message
        assert record.spent == {"training": record.budget}, "the search spends no budget"
        return record.outcome.cost.synops

    target = round(synops("digits-snn", "dense", None, 1.0, 0) / 2)
    where = ("digits-snn", "magnitude", granularity, "synops", 0, "from-scratch", float(target))
    assert synops(*where) == pytest.approx(target, rel=0.1)
