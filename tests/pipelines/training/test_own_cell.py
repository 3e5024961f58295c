"""Cells of networks and data of the user's own: budgets, controls, costs and live shrink."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from pipelines import data
from pipelines.audit.plausibility import contradictions
from pipelines.records.record import RunRecord
from pipelines.settings.spec import RunSpec
from pipelines.settings.workload import Workload
from pipelines.training.cell import failed_record, final_network, run_cell
from pipelines.training.trainer import Trainer
from tests.helpers.own_workloads import own_cell, own_workload


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    data.fetch(own_workload().data, folder)
    return folder


def run(spec: RunSpec, root: Path, parent: RunRecord | None = None) -> RunRecord:
    record = run_cell(spec, root, root / "checkpoints", parent)
    assert record.status == "ok", record.message
    assert not [fault for fault in contradictions(record) if "RUN_ID" not in fault]
    return record


@pytest.mark.slow
def test_a_structured_run_has_its_budget_costs_and_controls(root: Path) -> None:
    parent = run(own_cell(own_workload(), "magnitude", "structured", 0.4), root)
    assert parent.outcome
    assert parent.outcome.test_accuracy
    assert parent.outcome.test_accuracy > 0.6
    cost = parent.outcome.cost
    assert list(cost.layers) == ["net.0", "net.4", "readout"]
    assert cost.layers["readout"].density == 1
    assert cost.layers["net.0"].effective_macs > 0
    assert cost.layers["net.4"].effective_acs > 0
    assert cost.layers["net.4"].membrane_updates % 4 == 0
    assert parent.environment
    assert parent.environment.plan == "module"
    shuffled = run(replace(parent.spec, control="shuffled"), root, parent)
    assert shuffled.outcome
    assert shuffled.outcome.layout == parent.outcome.layout
    reinit = run(replace(parent.spec, control="reinit"), root, parent)
    assert reinit.outcome
    assert reinit.outcome.layout == parent.outcome.layout


def test_live_shrink_gives_the_network_that_masks_give(root: Path) -> None:
    found = []
    for shrink in (True, False):
        settings = own_workload(
            execution={"live_shrink": shrink}, network_fields={"options": {"hidden": 64}}
        )
        spec = own_cell(settings, "magnitude", "structured", 0.22)
        sizes: list[float] = []
        _, outcome, status = final_network(
            spec, root, on_masks=lambda trainer, _, sizes=sizes: sizes.append(shrunk(trainer))
        )
        assert status == "ok"
        found.append(outcome)
        assert (min(sizes) < 1) == shrink
    small, masked = found
    assert small.layout == masked.layout
    assert small.validation_accuracy == masked.validation_accuracy
    assert small.cost.synops == pytest.approx(masked.cost.synops, rel=0.02)


def shrunk(trainer: Trainer) -> float:
    """Parameters in training / parameters of the dense network."""
    sizes = [
        sum(p.numel() for p in one.parameters())
        for one in (trainer.live.network, trainer.live.full)
    ]
    return sizes[0] / sizes[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "granularity"),
    [("dpap", "hybrid"), ("snip", "unstructured"), ("grand", "structured")],
)
def test_methods_get_activity_and_saliency(method: str, granularity: str, root: Path) -> None:
    options = {"samples": 12} if method == "grand" else {}
    record = run_cell(own_cell(own_workload(), method, granularity, options=options), root)
    assert record.status in ("ok", "off-target"), record.message
    assert record.outcome


def test_a_run_whose_process_ended_has_the_budget_of_its_own_data(root: Path) -> None:
    spec = own_cell(own_workload(), "dense", "none", 1.0)
    record = failed_record(spec, root, "the process ended.", datetime.now(UTC))
    finished = run_cell(spec, root)
    assert finished.status == "ok", finished.message
    assert (record.status, record.budget) == ("failed", finished.budget)


def test_a_network_that_loops_over_events(root: Path) -> None:
    events: Workload = own_workload(
        data={"factory": "tests.helpers.factories:samples", "options": {"time": 4}}, frames={}
    )
    data.fetch(events.data, root)
    record = run(own_cell(events, "magnitude", "unstructured"), root)
    assert record.outcome
    assert record.outcome.cost.effective_macs == 0
    assert record.outcome.cost.synops > 0
